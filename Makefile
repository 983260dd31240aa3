# `make demo` and `make test` are all that a newcomer needs: both set up what is missing first.

.PHONY: setup

setup: ## put libtorch, ONNX Runtime and Fashion-MNIST into .deps/
	@scripts/setup
