//! The last lines of a log, found from its end.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom},
    os::unix::fs::FileExt,
};

/// How much is looked at at once, in bytes.
const PIECE: u64 = 64 << 10;

/// Has the two parts of a log begin so that `lines` lines are left in both together.
pub(super) fn seek(old: &mut Option<File>, new: &mut Option<File>, mut lines: u64) -> io::Result<()> {
    for file in [new, old].into_iter().flatten() {
        let (start, found) = last_lines(file, lines)?;
        file.seek(SeekFrom::Start(start))?;
        lines -= found;
    }
    Ok(())
}

/// Where the last `lines` lines of a file begin, and how many there are.
fn last_lines(file: &File, lines: u64) -> io::Result<(u64, u64)> {
    let size = file.metadata()?.len();
    if lines == 0 {
        return Ok((size, 0));
    }
    let mut piece = vec![0; usize::try_from(PIECE).unwrap_or_default()];
    let (mut at, mut found) = (size, 0);
    while at > 0 {
        let begin = at.saturating_sub(PIECE);
        let piece = &mut piece[..usize::try_from(at - begin).unwrap_or_default()];
        file.read_exact_at(piece, begin)?;
        for byte in piece.iter().rev() {
            // The end of the very last line is no beginning of another one.
            if *byte == b'\n' && at < size {
                found += 1;
                if found == lines {
                    return Ok((at, found));
                }
            }
            at -= 1;
        }
    }
    Ok((0, found + u64::from(size > 0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn file(text: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        file
    }

    fn tail(old: &[u8], new: &[u8], lines: u64) -> String {
        let (mut old, mut new) = (Some(file(old)), Some(file(new)));
        seek(&mut old, &mut new, lines).unwrap();
        let mut text = String::new();
        old.unwrap().read_to_string(&mut text).unwrap();
        new.unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn the_last_lines_may_reach_into_the_part_that_was_put_aside() {
        for (lines, expected) in
            [(0, ""), (1, "d\n"), (2, "c\nd\n"), (3, "b\nc\nd\n"), (4, "a\nb\nc\nd\n"), (9, "a\nb\nc\nd\n")]
        {
            assert_eq!(tail(b"a\nb\n", b"c\nd\n", lines), expected, "{lines}");
        }
        assert_eq!(tail(b"a\nb\n", b"", 1), "b\n");
        assert_eq!(tail(b"", b"c\nd", 1), "d");
    }

    #[test]
    fn lines_are_counted_over_the_edges_of_what_is_read_at_once() {
        let edge = usize::try_from(PIECE).unwrap();
        for length in [edge - 1, edge, edge + 1] {
            let long = "x".repeat(length);
            let text = format!("first\n{long}\n{long}\n");
            assert_eq!(tail(b"", text.as_bytes(), 1), format!("{long}\n"));
            assert_eq!(tail(b"", text.as_bytes(), 2), format!("{long}\n{long}\n"));
            assert_eq!(tail(b"", text.as_bytes(), 3), text);
        }
    }
}
