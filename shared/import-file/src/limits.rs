use crate::FileError;

/// How much of a file is read before it is refused. What is held in memory follows from `row_bytes`
/// and `header_bytes` alone: a small multiple of them, whatever the file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one row as it stands in the file, without its line end; more is a problem of that row.
    pub row_bytes: usize,
    /// Bytes of the header of a CSV file.
    pub header_bytes: usize,
    /// Bytes after decompression, of all files of a ZIP together.
    pub file_bytes: u64,
    /// How many bytes may come out for each one that went in, once more than `ratio_from` came out.
    pub ratio: u64,
    /// Bytes; see `ratio`.
    pub ratio_from: u64,
    /// Entries of a ZIP, those that are skipped included.
    pub files: usize,
}

impl Default for Limits {
    /// Rows of 200 KiB, headers of 16 KiB, files of 20 GiB, 1000 : 1 after 16 MiB, 1,000 entries.
    fn default() -> Self {
        Self {
            row_bytes: 200 << 10,
            header_bytes: 16 << 10,
            file_bytes: 20 << 30,
            ratio: 1000,
            ratio_from: 16 << 20,
            files: 1000,
        }
    }
}

/// Counts what came out of a file against its limits.
#[derive(Debug)]
pub(crate) struct Meter {
    limits: Limits,
    came_out: u64,
}

impl Meter {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, came_out: 0 }
    }

    /// `went_in` is what was read so far. It counts no more than the file's `length`: the entries of a
    /// ZIP may share their bytes.
    pub(crate) fn count(&mut self, bytes: usize, went_in: u64, length: u64) -> Result<(), FileError> {
        let Limits { file_bytes, ratio, ratio_from, .. } = self.limits;
        self.came_out = self.came_out.saturating_add(bytes as u64);
        if self.came_out > file_bytes {
            let message = format!("The file holds more than {file_bytes} bytes after decompression.");
            return Err(FileError::refused("FILE_TOO_LARGE", message));
        }
        if self.came_out > ratio_from && self.came_out > went_in.min(length).saturating_mul(ratio) {
            let message = format!("The file is compressed to less than a {ratio}th of its size, as no table is.");
            return Err(FileError::refused("SUSPICIOUS_COMPRESSION", message));
        }
        Ok(())
    }
}
