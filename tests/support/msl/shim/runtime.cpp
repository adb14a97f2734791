// The program that loads and runs kernels, at once: most of the time of compiling a part goes to C++'s own headers.
#include "executor.cpp"
#include "host.cpp"
#include "memory.cpp"
