//! A reader of tar archives that shares no code with what wrote them.
//!
//! POSIX and GNU forms: ustar, pax records, GNU long names, GNU sparse 1.0. The `tar` crate is not used for reading: it splits
//! pax records at line ends, so a file name with a line end in it, or a binary attribute, hides the records after it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

const BLOCK: usize = 512;
/// Most bytes that a pax header or a long name may have here.
const LONGEST_HEADER: u64 = 16 << 20;

/// An archive under way.
#[derive(Debug)]
pub struct Reader<R> {
    inner: R,
    /// Bytes of the present member's data that were not read yet.
    left: u64,
    /// Bytes after them up to the next block.
    pad: u64,
}

/// One member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its path, no slash at the end.
    pub path: Vec<u8>,
    /// find's letter for what it is; `h` for a hard link to another member.
    pub kind: u8,
    /// Permissions.
    pub mode: u32,
    /// The owner's number.
    pub uid: u64,
    /// The group's number.
    pub gid: u64,
    /// The file's real size, holes counted.
    pub size: u64,
    /// Whole seconds of the time of last change.
    pub mtime: i64,
    /// Where a symbolic or hard link points.
    pub target: Vec<u8>,
    sparse: bool,
}

type Records = BTreeMap<String, Vec<u8>>;

impl<R: Read> Reader<R> {
    /// Begins to read.
    pub const fn new(inner: R) -> Self {
        Self { inner, left: 0, pad: 0 }
    }

    /// The next member; `None` at the two empty blocks that end an archive. An archive without them is an error.
    pub fn member(&mut self) -> io::Result<Option<Member>> {
        let mut records = Records::new();
        loop {
            self.skip()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let size = number(field(&header, 124, 12))?;
            self.set_size(size)?;
            match field(&header, 156, 1).first().copied().unwrap_or_default() {
                b'x' => records.extend(pax(&self.whole()?)?),
                // Records for all members: GNU tar writes none that matter here.
                b'g' => {}
                b'L' => drop(records.insert("path".to_owned(), until_nul(&self.whole()?).to_vec())),
                b'K' => drop(records.insert("linkpath".to_owned(), until_nul(&self.whole()?).to_vec())),
                letter => return self.read_member(&header, letter, &records).map(Some),
            }
        }
    }

    /// Writes the present member's whole content, holes as zeros.
    pub fn content(&mut self, member: &Member, to: &mut impl Write) -> io::Result<()> {
        if !member.sparse {
            return copy(&mut (&mut self.inner).take(self.left), self.left, to).map(|()| self.left = 0);
        }
        let mut at = 0;
        for (offset, length) in self.map()? {
            let hole = offset.checked_sub(at).ok_or_else(|| bad("a sparse map that goes backwards"))?;
            copy(&mut io::repeat(0), hole, to)?;
            if length > self.left {
                return Err(bad("a sparse file with less data than its map says"));
            }
            copy(&mut (&mut self.inner).take(length), length, to)?;
            self.left -= length;
            at = offset.checked_add(length).ok_or_else(|| bad("a sparse map out of range"))?;
        }
        let rest = member.size.checked_sub(at).ok_or_else(|| bad("a sparse map beyond the file's end"))?;
        copy(&mut io::repeat(0), rest, to)
    }

    /// What carried the archive, to read on behind its end.
    pub fn into_inner(self) -> R {
        self.inner
    }

    fn read_member(&mut self, header: &[u8; BLOCK], letter: u8, records: &Records) -> io::Result<Member> {
        let text = |name: &str| records.get(name);
        let decimal = |name: &str, start, length| match records.get(name) {
            Some(digits) => parse(digits),
            None => number(field(header, start, length)),
        };
        let size = decimal("size", 124, 12)?;
        self.set_size(size)?;
        let sparse = text("GNU.sparse.major").is_some();
        if sparse
            && (text("GNU.sparse.major"), text("GNU.sparse.minor"))
                != (Some(&b"1".to_vec()), Some(&b"0".to_vec()))
        {
            return Err(bad("a sparse form that is not known here"));
        }
        let path = match text("GNU.sparse.name").or_else(|| text("path")) {
            Some(path) => path.clone(),
            None => ustar_path(header),
        };
        let target = text("linkpath").cloned().unwrap_or_else(|| until_nul(field(header, 157, 100)).to_vec());
        let kind = match letter {
            b'0' | b'\0' | b'7' => b'f',
            b'1' => b'h',
            b'2' => b'l',
            b'3' => b'c',
            b'4' => b'b',
            b'5' => b'd',
            b'6' => b'p',
            other => return Err(bad(&format!("a member of unknown type {other}"))),
        };
        let mtime = match text("mtime") {
            Some(time) => floor(time)?,
            None => i64::try_from(number(field(header, 136, 12))?).map_err(|_| bad("a time out of range"))?,
        };
        let mode = number(field(header, 100, 8))? & 0o7777;
        Ok(Member {
            path: trim(path),
            kind,
            mode: u32::try_from(mode).unwrap_or_default(),
            uid: decimal("uid", 108, 8)?,
            gid: decimal("gid", 116, 8)?,
            size: match text("GNU.sparse.realsize") {
                Some(digits) => parse(digits)?,
                None => size,
            },
            mtime,
            target: if kind == b'h' { trim(target) } else { target },
            sparse,
        })
    }

    /// One header block, its sum checked; `None` at the end.
    fn header(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        self.inner.read_exact(&mut block).map_err(short)?;
        if block.iter().all(|byte| *byte == 0) {
            self.inner.read_exact(&mut block).map_err(short)?;
            return if block.iter().all(|byte| *byte == 0) {
                Ok(None)
            } else {
                Err(bad("a lone empty block"))
            };
        }
        let sum: u64 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| u64::from(if (148..156).contains(&at) { b' ' } else { *byte }))
            .sum();
        if number(field(&block, 148, 8))? != sum {
            return Err(bad("a header with a wrong sum"));
        }
        Ok(Some(block))
    }

    fn set_size(&mut self, size: u64) -> io::Result<()> {
        let blocks = size.checked_next_multiple_of(BLOCK as u64).ok_or_else(|| bad("a size out of range"))?;
        self.left = size;
        self.pad = blocks - size;
        Ok(())
    }

    /// Reads over what is left of the present member.
    fn skip(&mut self) -> io::Result<()> {
        let rest = self.left + self.pad;
        (self.left, self.pad) = (0, 0);
        copy(&mut (&mut self.inner).take(rest), rest, &mut io::sink())
    }

    /// The present member's data, for headers only.
    fn whole(&mut self) -> io::Result<Vec<u8>> {
        if self.left > LONGEST_HEADER {
            return Err(bad("a header that is too long"));
        }
        let mut bytes = Vec::new();
        copy(&mut (&mut self.inner).take(self.left), self.left, &mut bytes)?;
        self.left = 0;
        Ok(bytes)
    }

    /// The map of a sparse file: decimal numbers, one a line, padded to a block: how many, then offset and length of each.
    fn map(&mut self) -> io::Result<Vec<(u64, u64)>> {
        let mut lines = Lines { block: Vec::new(), at: 0 };
        let count = lines.number(self)?;
        let mut map = Vec::new();
        for _ in 0..count {
            map.push((lines.number(self)?, lines.number(self)?));
        }
        Ok(map)
    }
}

/// The lines of a sparse map, block by block.
struct Lines {
    block: Vec<u8>,
    at: usize,
}

impl Lines {
    fn number<R: Read>(&mut self, reader: &mut Reader<R>) -> io::Result<u64> {
        let mut digits = Vec::new();
        loop {
            if self.at == self.block.len() {
                if reader.left < BLOCK as u64 {
                    return Err(bad("a sparse map without an end"));
                }
                self.block.resize(BLOCK, 0);
                reader.inner.read_exact(&mut self.block).map_err(short)?;
                reader.left -= BLOCK as u64;
                self.at = 0;
            }
            let byte = self.block.get(self.at).copied().unwrap_or_default();
            self.at += 1;
            match byte {
                b'\n' => return parse(&digits),
                digit if digits.len() < 20 => digits.push(digit),
                _ => return Err(bad("a sparse map with a number that is too long")),
            }
        }
    }
}

/// Copies exactly so many bytes.
fn copy(from: &mut impl Read, bytes: u64, to: &mut impl Write) -> io::Result<()> {
    if io::copy(&mut from.take(bytes), to)? == bytes { Ok(()) } else { Err(bad("it is cut short")) }
}

/// pax records: `length key=value\n`, the length counting the whole record.
fn pax(mut bytes: &[u8]) -> io::Result<Records> {
    let mut records = Records::new();
    while !bytes.is_empty() {
        let wrong = || bad("a pax record that cannot be read");
        let blank = bytes.iter().position(|byte| *byte == b' ').ok_or_else(wrong)?;
        let length = usize::try_from(parse(bytes.get(..blank).ok_or_else(wrong)?)?).map_err(|_| wrong())?;
        let record =
            bytes.get(blank + 1..length).and_then(|record| record.strip_suffix(b"\n")).ok_or_else(wrong)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
        let (key, value) = record.split_at(equals);
        records
            .insert(String::from_utf8_lossy(key).into_owned(), value.get(1..).unwrap_or_default().to_vec());
        bytes = bytes.get(length..).unwrap_or_default();
    }
    Ok(records)
}

fn ustar_path(header: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_nul(field(header, 0, 100));
    let prefix = until_nul(field(header, 345, 155));
    // Only POSIX headers have a prefix; GNU ones keep other things there.
    if prefix.is_empty() || field(header, 257, 6) != b"ustar\0" {
        return name.to_vec();
    }
    [prefix, b"/", name].concat()
}

/// Octal digits, or GNU's binary form for what does not fit.
fn number(field: &[u8]) -> io::Result<u64> {
    if let Some((first, rest)) = field.split_first()
        && first & 0x80 != 0
    {
        // Negative numbers (0xff) and those beyond 64 bits are out of range here.
        let (high, low) = rest.split_at(rest.len().saturating_sub(8));
        if *first != 0x80 || high.iter().any(|byte| *byte != 0) {
            return Err(bad("a number out of range"));
        }
        return Ok(low.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte)));
    }
    let digits: String =
        field.iter().filter(|byte| !matches!(byte, 0 | b' ')).map(|byte| char::from(*byte)).collect();
    if digits.is_empty() {
        return Ok(0);
    }
    u64::from_str_radix(&digits, 8).map_err(|_| bad("a number that cannot be read"))
}

fn parse(digits: &[u8]) -> io::Result<u64> {
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| bad("a decimal number that cannot be read"))
}

/// Whole seconds of `1700000000.25` or `-0.5`, rounded down as find does.
fn floor(time: &[u8]) -> io::Result<i64> {
    let text = std::str::from_utf8(time).unwrap_or_default();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().map_err(|_| bad("a time that cannot be read"))?;
    let below = whole.starts_with('-') && fraction.bytes().any(|digit| digit != b'0');
    Ok(if below { seconds - 1 } else { seconds })
}

fn field(block: &[u8; BLOCK], start: usize, length: usize) -> &[u8] {
    block.get(start..start + length).unwrap_or_default()
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn trim(mut path: Vec<u8>) -> Vec<u8> {
    while path.len() > 1 && path.ends_with(b"/") {
        path.pop();
    }
    path
}

fn short(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof { bad("it is cut short") } else { error }
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the archive: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pax_record_may_hold_line_ends() {
        let records = pax(b"13 path=a\nb\nc\n12 uid=70000\n");
        assert!(records.is_err(), "the second record's length is wrong");
        let records = pax(b"14 path=a\nb\nc\n14 uid=700000\n").unwrap();
        assert_eq!(records["path"], b"a\nb\nc");
        assert_eq!(records["uid"], b"700000");
    }

    #[test]
    fn numbers_and_times_are_read_in_every_form() {
        assert_eq!(number(b"0000644\0").unwrap(), 0o644);
        assert_eq!(number(b"\x80\0\0\0\0\0\0\x02\0\0\0\0").unwrap(), 1 << 33);
        assert!(number(b"\xff\xff\xff\xff\xff\xff\xff\xff").is_err());
        assert!(number(b"12z4567\0").is_err());
        assert_eq!(floor(b"1700000000.9").unwrap(), 1_700_000_000);
        assert_eq!(floor(b"-1.5").unwrap(), -2);
        assert_eq!(floor(b"-0.5").unwrap(), -1);
        assert_eq!(floor(b"-2").unwrap(), -2);
    }

    #[test]
    fn an_archive_without_its_end_is_an_error() {
        assert!(Reader::new(&[][..]).member().is_err());
        assert!(Reader::new(&[0; 512][..]).member().is_err());
        assert_eq!(Reader::new(&[0; 1024][..]).member().unwrap(), None);
    }
}
