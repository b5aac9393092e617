//! Rows out of a file, and what they say of an entity.
//!
//! | item | does |
//! |---|---|
//! | [`read`] | rows of CSV or JSON lines, plain, in gzip or in a ZIP, one by one |
//! | [`Mapping`] | which column is which field; rows into bodies of creates and of merge patches |
//! | [`Chunker`] | packs consecutive rows into messages |
//! | [`ErrorFile`] | turns failed rows back into CSV that can be mended and imported again |
//!
//! All of it is synchronous. Nothing here opens, fetches or writes anything: bytes come from any
//! [`std::io::Read`] and [`std::io::Seek`], and go to any [`std::io::Write`]. The same file always
//! gives the same rows, in however small pieces it is read, and takes the same memory, however
//! large it is.

mod archive;
mod chunk;
mod content;
mod csv_rows;
mod error;
mod error_file;
mod header;
mod limits;
mod line_rows;
mod mapping;
mod row;
mod rows;
mod source;

pub use chunk::{Chunk, ChunkLimits, ChunkRow, Chunker};
pub use error::{FileError, FileProblem};
pub use error_file::{ErrorFile, ErrorFileError, FailedRow};
pub use limits::Limits;
pub use mapping::{ColumnSource, Empty, MappedRow, Mapping, RowMapper, Shape, Source};
pub use row::{Found, RowContent};
pub use rows::{Rows, read};

#[cfg(test)]
mod tests;
