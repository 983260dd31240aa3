//! Networks and their weights as ONNX files.
