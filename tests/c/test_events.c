/* The event queue: order, overflow, and how long text and embedding live. */
#include "check.h"
#include "events.h"
#include "utf8.h"

enum { CAPACITY = 4, WIDTH = 3, TEXT_BYTES = 8 };

static vlj_event_queue queue;
static void *memory;

static void open_queue(void) {
    memory = calloc(1, vlj_event_queue_bytes(CAPACITY, WIDTH, TEXT_BYTES));
    vlj_event_queue_init(&queue, memory, CAPACITY, WIDTH, TEXT_BYTES);
}

static void push(vlj_event_type type, uint64_t window, const char *text) {
    float embedding[WIDTH] = {(float)window, 1, 2};
    vlj_event event = {.type = type, .window = window, .text = text};
    event.embedding = type == VLJ_EVENT_EMBEDDING ? embedding : NULL;
    vlj_event_queue_push(&queue, &event, false);
}

static vlj_event pop(vlj_event_type type, uint64_t window) {
    vlj_event event;
    CHECK(vlj_event_queue_pop(&queue, &event));
    CHECK_EQ(event.type, type);
    CHECK_EQ(event.window, window);
    return event;
}

static void test_order_and_copies(void) {
    vlj_event event;
    open_queue();
    CHECK(!vlj_event_queue_pop(&queue, &event));
    for (uint64_t round = 0; round < 50; round++) {
        CHECK_EQ(vlj_event_queue_room(&queue), CAPACITY);
        push(VLJ_EVENT_EMBEDDING, round, NULL);
        push(VLJ_EVENT_TEXT, round + 1, "abc");
        CHECK_EQ(vlj_event_queue_room(&queue), CAPACITY - 2);
        event = pop(VLJ_EVENT_EMBEDDING, round);
        CHECK_EQ(event.sequence, 2 * round);
        CHECK_EQ(event.embedding_width, WIDTH);
        CHECK_NEAR(event.embedding[0], round, 0);
        CHECK(strcmp(event.text, "") == 0);
        /* what was popped stays whole while the queue is filled behind it */
        push(VLJ_EVENT_EMBEDDING, 900, NULL);
        push(VLJ_EVENT_EMBEDDING, 901, NULL);
        push(VLJ_EVENT_EMBEDDING, 902, NULL);
        CHECK_NEAR(event.embedding[0], round, 0);
        event = pop(VLJ_EVENT_TEXT, round + 1);
        CHECK(event.embedding == NULL && event.embedding_width == 0);
        CHECK(strcmp(event.text, "abc") == 0);
        vlj_event_queue_clear(&queue);
        CHECK(strcmp(event.text, "abc") == 0);
        CHECK(!vlj_event_queue_pop(&queue, &event));
    }
    free(memory);
}

static void test_overflow(void) {
    vlj_event event;
    open_queue();
    push(VLJ_EVENT_SHIFT, 0, NULL);
    push(VLJ_EVENT_EMBEDDING, 1, NULL);
    push(VLJ_EVENT_TEXT, 2, "x");
    push(VLJ_EVENT_EMBEDDING, 3, NULL);
    push(VLJ_EVENT_EMBEDDING, 4, NULL); /* 1 goes */
    push(VLJ_EVENT_SHIFT, 5, NULL);     /* 3 goes */
    event = pop(VLJ_EVENT_DROPPED, 3);
    CHECK_EQ(event.reason, VLJ_REASON_EVENT_QUEUE_FULL);
    CHECK_EQ(event.count, 2);
    CHECK_EQ(event.sequence, 0);
    pop(VLJ_EVENT_SHIFT, 0);
    pop(VLJ_EVENT_TEXT, 2);
    pop(VLJ_EVENT_EMBEDDING, 4);
    event = pop(VLJ_EVENT_SHIFT, 5);
    CHECK_EQ(event.sequence, 4);
    CHECK(!vlj_event_queue_pop(&queue, &event));

    for (uint64_t i = 0; i < CAPACITY + 3; i++) { /* no EMBEDDING there: the oldest go */
        push(VLJ_EVENT_SHIFT, i, NULL);
    }
    CHECK_EQ(pop(VLJ_EVENT_DROPPED, 2).count, 3);
    for (uint64_t i = 3; i < CAPACITY + 3; i++) {
        pop(VLJ_EVENT_SHIFT, i);
    }
    CHECK_EQ(queue.dropped, 5);
    free(memory);
}

/* Random pushes and pops against a list that is searched from the front. */
static void test_against_model(void) {
    struct {
        int type;
        uint64_t window;
    } model[CAPACITY + 1];
    int count = 0;
    uint64_t untold = 0, window = 0;
    uint32_t random = 7;
    open_queue();
    for (int i = 0; i < 200000; i++) {
        random = random * 1664525u + 1013904223u;
        vlj_event event;
        if (random >> 31) {
            int type = random >> 29 & 1 ? VLJ_EVENT_EMBEDDING : VLJ_EVENT_TEXT;
            if (count == CAPACITY) {
                int victim = 0;
                for (int k = count - 1; k >= 0; k--) {
                    victim = model[k].type == VLJ_EVENT_EMBEDDING ? k : victim;
                }
                memmove(&model[victim], &model[victim + 1], (size_t)(count - victim - 1) * sizeof model[0]);
                count--;
                untold++;
            }
            model[count].type = type;
            model[count++].window = window;
            push(type, window++, "t");
        } else if (untold) {
            CHECK(vlj_event_queue_pop(&queue, &event));
            CHECK_EQ(event.type, VLJ_EVENT_DROPPED);
            CHECK_EQ(event.count, untold);
            untold = 0;
        } else if (count) {
            pop(model[0].type, model[0].window);
            memmove(&model[0], &model[1], (size_t)--count * sizeof model[0]);
        } else {
            CHECK(!vlj_event_queue_pop(&queue, &event));
        }
    }
    free(memory);
}

static void test_text_is_cut_at_a_character(void) {
    open_queue();
    push(VLJ_EVENT_TEXT, 0, "abcdef\xC3\xA9"); /* 8 bytes and NUL: the letter does not fit whole */
    CHECK(strcmp(pop(VLJ_EVENT_TEXT, 0).text, "abcdef") == 0);
    push(VLJ_EVENT_TEXT, 0, "abcde\xC3\xA9");
    CHECK(strcmp(pop(VLJ_EVENT_TEXT, 0).text, "abcde\xC3\xA9") == 0);
    static const char phrase[] = "a phrase of the bank, longer than the slot";
    vlj_event event = {.type = VLJ_EVENT_TEXT, .text = phrase};
    vlj_event_queue_push(&queue, &event, true);
    CHECK(pop(VLJ_EVENT_TEXT, 0).text == phrase);
    free(memory);
}

static void test_utf8(void) {
    static const struct {
        const char *text;
        size_t length;
    } cases[] = {{"a", 1},        {"\xC3\xA9", 2},     {"\xE2\x82\xAC", 3}, {"\xF0\x9F\x8D\x8E", 4},
                 {"\xC0\x80", 0}, {"\xE0\x80\x80", 0}, {"\xED\xA0\x80", 0}, {"\xF4\x90\x80\x80", 0},
                 {"\x80", 0},     {"\xC3", 0},         {"\xE2\x82", 0},     {"\xF5\x80\x80\x80", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_EQ(vlj_utf8_character(cases[i].text, strlen(cases[i].text)), cases[i].length);
    }
}

int main(void) {
    test_order_and_copies();
    test_overflow();
    test_against_model();
    test_text_is_cut_at_a_character();
    test_utf8();
    return 0;
}
