// What the C++ compiler finds where libtorch is missing (`CPLUS_INCLUDE_PATH` in `.cargo/config.toml` comes last):
// one line that says what to do, and nothing after it.
#if __has_include_next(<torch/torch.h>)
#include_next <torch/torch.h>
#else
#include "libtorch is missing; hint: run `make setup`, or set LIBTORCH to your own (its folder must be there)"
#endif
