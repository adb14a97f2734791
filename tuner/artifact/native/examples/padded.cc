// ./example 101 7592 102: what the model makes of one text, given as token ids.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "tunesmith.h"

int main(int argc, char** argv) {
  tunesmith_model* model = tunesmith_open(".");
  if (model == nullptr) return std::fprintf(stderr, "%s\n", tunesmith_last_error()), 1;
  const int input_ids = tunesmith_find_input(model, "input_ids"), mask = tunesmith_find_input(model, "attention_mask");
  const int64_t* shape = tunesmith_input(model, input_ids)->shape;  // (texts, tokens): each text is the same one here
  std::vector<int32_t> ids(shape[0] * shape[1]), is_token(ids.size());
  for (int64_t at = 0; at < shape[0] * shape[1]; ++at) {
    if ((is_token[at] = at % shape[1] < argc - 1)) ids[at] = std::atoi(argv[at % shape[1] + 1]);
  }
  std::vector<const void*> inputs(tunesmith_num_inputs(model));  // the others stay NULL, which means zeros
  inputs[input_ids] = ids.data();
  if (mask >= 0) inputs[mask] = is_token.data();
  if (tunesmith_run(model, inputs.data()) != 0) return std::fprintf(stderr, "%s\n", tunesmith_last_error()), 1;
  const tunesmith_tensor* output = tunesmith_output(model, 0);
  for (int64_t i = 0; i < output->shape[output->rank - 1]; ++i) std::printf("%.7g\n", static_cast<const float*>(output->data)[i]);
  tunesmith_close(model);
}
