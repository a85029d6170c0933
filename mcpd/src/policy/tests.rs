//! The role matrix.
