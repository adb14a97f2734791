// ./example: what the model makes of zeros.
#include <cstdio>
#include <vector>

#include "tunesmith.h"

int main() {
  tunesmith_model* model = tunesmith_open(".");
  if (model == nullptr) return std::fprintf(stderr, "%s\n", tunesmith_last_error()), 1;
  std::vector<const void*> inputs(tunesmith_num_inputs(model));  // NULL means zeros: put arrays of yours here
  if (tunesmith_run(model, inputs.data()) != 0) return std::fprintf(stderr, "%s\n", tunesmith_last_error()), 1;
  const tunesmith_tensor* output = tunesmith_output(model, 0);
  for (int64_t i = 0; i < output->shape[output->rank - 1]; ++i) std::printf("%.7g\n", static_cast<const float*>(output->data)[i]);
  tunesmith_close(model);
}
