/* onnx_graph.h: the nodes of an ONNX graph with who gives and who takes each value, for rewriting it. */
#ifndef VLJ_BACKENDS_ONNX_GRAPH_H
#define VLJ_BACKENDS_ONNX_GRAPH_H

#include "hooks.h"
#include "onnx_message.h"

enum { VLJ_ONNX_MOST_INPUTS = 5, VLJ_ONNX_MOST_OUTPUTS = 2 };

typedef struct vlj_onnx_node {
    span message, op, inputs[VLJ_ONNX_MOST_INPUTS], outputs[VLJ_ONNX_MOST_OUTPUTS];
    size_t input_count, output_count; /* the true ones, which may be more than are held */
    int replaced;                     /* for the one who rewrites: it goes, */
    struct vlj_onnx_node *start;      /* and where this isn't NULL, what it begins with comes in its place */
    int spare;                        /* for the one who rewrites: it goes once nothing takes what it gives */
} vlj_onnx_node;

/* A name with who gives and who takes it. */
typedef struct vlj_onnx_value {
    span name, initializer; /* the latter empty where there is none */
    vlj_onnx_node *producer;
    size_t slot;                             /* which of its outputs */
    vlj_onnx_node *first_taker, *last_taker; /* among the inputs that are held */
    size_t uses;                             /* inputs of nodes, and outputs of the graph */
    size_t live;                             /* for the one who rewrites: how many of them are left */
    int is_input;                            /* of the graph; it may take an initializer's place */
    struct vlj_onnx_value *next;             /* of the same hash */
} vlj_onnx_value;

/* All zero where the message isn't one that may be rewritten: damaged, or with subgraphs, which see outer names. */
typedef struct vlj_onnx_graph {
    span message;
    vlj_onnx_node *nodes;
    vlj_onnx_value *values, **buckets;
    size_t count, value_count, bucket_count, bytes;
    int64_t opset; /* of the standard operators */
} vlj_onnx_graph;

/* VLJ_E_MEMORY is the only failure. */
vlj_status vlj_onnx_read_graph(const vlj_host *host, span model, vlj_onnx_graph *graph);
void vlj_onnx_free_graph(const vlj_host *host, vlj_onnx_graph *graph);

/* NULL where nothing is called so, or the name is empty. */
vlj_onnx_value *vlj_onnx_value_of(const vlj_onnx_graph *g, span name);
/* The node whose output number `slot` is called so; NULL: none, or it isn't that output. */
vlj_onnx_node *vlj_onnx_producer(const vlj_onnx_graph *g, span name, size_t slot);
/* The first node that takes it among the inputs that are held. */
vlj_onnx_node *vlj_onnx_consumer(const vlj_onnx_graph *g, span name);
size_t vlj_onnx_uses(const vlj_onnx_graph *g, span name);
/* The tensor; an empty span where there is none, or a graph's input may take its place. */
span vlj_onnx_initializer(const vlj_onnx_graph *g, span name);
/* A standard operator of that type with that many inputs. */
int vlj_onnx_is(const vlj_onnx_node *node, const char *op, size_t inputs);

size_t vlj_onnx_attributes(const vlj_onnx_node *node);
span vlj_onnx_attribute(const vlj_onnx_node *node, const char *name);
int vlj_onnx_has_int(const vlj_onnx_node *node, const char *name, int64_t value);
int vlj_onnx_has_ints(const vlj_onnx_node *node, const char *name, const int64_t *values, size_t count);

/* Values of an int64 initializer of rank 0 or 1; how many there are, 0 where it isn't one or has more than `most`. */
size_t vlj_onnx_constant(const vlj_onnx_graph *g, span name, int64_t *values, size_t most);
/* A float32 initializer of rank 0; one of int8 that is 0. */
int vlj_onnx_is_number(const vlj_onnx_graph *g, span name);
int vlj_onnx_is_int8_zero(const vlj_onnx_graph *g, span name);
/* A float32 initializer [rows, columns], or what a node gives, whose shape isn't known here. */
int vlj_onnx_fits(const vlj_onnx_graph *g, span name, int64_t rows, int64_t columns);

#endif
