//! Accuracy predictors and latency models of networks.
