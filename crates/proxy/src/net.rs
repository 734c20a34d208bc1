//! Sockets: making them, asking them where they were going, and streams over them.

pub(crate) mod io;
pub(crate) mod original_dst;
pub(crate) mod socket;
