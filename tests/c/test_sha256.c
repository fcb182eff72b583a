/* SHA-256 against the standard's examples, and the same message taken in pieces of every length. */
#include "sha256.h"

#include "check.h"

static void check_digest(const char *message, size_t size, const char *expected) {
    uint8_t digest[32];
    char text[65];
    for (size_t piece = 1; piece <= size || piece == 1; piece = piece < 70 && size < 1000 ? piece + 1 : piece * 3) {
        vlj_sha256 hash;
        vlj_sha256_init(&hash);
        for (size_t at = 0; at < size; at += piece) {
            vlj_sha256_update(&hash, message + at, size - at < piece ? size - at : piece);
        }
        vlj_sha256_update(&hash, NULL, 0);
        vlj_sha256_final(&hash, digest);
        vlj_sha256_hex(digest, text);
        CHECK(strcmp(text, expected) == 0);
    }
}

int main(void) {
    check_digest("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check_digest("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    const char *two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    check_digest(two_blocks, 56, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    char *million = malloc(1000000);
    CHECK(million != NULL);
    memset(million, 'a', 1000000);
    check_digest(million, 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);
    return 0;
}
