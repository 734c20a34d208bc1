//! Laws and examples of the codec.
