//! Supernets in libtorch: elastic blocks, training and evaluation.
