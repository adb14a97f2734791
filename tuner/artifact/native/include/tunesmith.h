/* A tuned model in C and C++: open the folder of a bundle, give it numbers, take numbers.
 *
 * A model may be used by one thread at a time, and is quickest when it is always the same one: TVM starts workers for
 * each thread that calls it.
 */
#ifndef TUNESMITH_H_
#define TUNESMITH_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tunesmith_model tunesmith_model;

typedef struct {
  const char* name;
  const char* dtype;    /* as numpy names it: int32, float32, ... */
  int rank;
  const int64_t* shape; /* of a model for texts -1 where it depends on the texts */
  const void* data;     /* of an output, after a run: its numbers, row by row, until the next run; else NULL */
} tunesmith_tensor;

/* The model in a bundle's folder; NULL when it can't be had. */
tunesmith_model* tunesmith_open(const char* folder);
void tunesmith_close(tunesmith_model* model);

/* Why the last call on this thread failed, in words. */
const char* tunesmith_last_error(void);

/* 1: it takes texts of any lengths, by tunesmith_run_texts; 0: arrays of fixed shapes, by tunesmith_run. */
int tunesmith_takes_texts(const tunesmith_model* model);

int tunesmith_num_inputs(const tunesmith_model* model);
int tunesmith_num_outputs(const tunesmith_model* model);
/* The input or output of a number, in the order of calls; NULL when there is none. */
const tunesmith_tensor* tunesmith_input(const tunesmith_model* model, int index);
const tunesmith_tensor* tunesmith_output(const tunesmith_model* model, int index);
/* The number of an input; -1 when there is none of that name. */
int tunesmith_find_input(const tunesmith_model* model, const char* name);

/* Computes the outputs for an array of each input, of its shape and dtype, row by row. NULL in place of one means ones
 * for the attention mask and zeros for others. 0 when done, else -1. */
int tunesmith_run(tunesmith_model* model, const void* const* inputs);

/* The same of a model for texts: each input has one number for each token, those of all texts one after the other, and
 * `lengths` says how many tokens each text has. NULL in place of one but the first means zeros. What there is of each
 * token comes as (tokens, features), of each text as (texts, features). 0 when done, else -1. */
int tunesmith_run_texts(tunesmith_model* model, int64_t texts, const int64_t* lengths, const int32_t* const* inputs);

#ifdef __cplusplus
}
#endif

#endif /* TUNESMITH_H_ */
