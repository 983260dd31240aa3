//! Exactness of the supernet and of its training, on tiny spaces.
