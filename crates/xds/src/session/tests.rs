//! Laws and examples of the session.
