//! What lies in the volumes of a simulated host: small, but with everything that a copy can get wrong.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::encoding::sha1;

/// The user of web servers in Debian's images.
const WWW_DATA: u32 = 33;
/// Most files are of this age, so that a copy that loses times shows.
const WRITTEN: u64 = 1_620_000_000;

/// A certificate of nobody, good for a very long time.
pub(super) const CERTIFICATE: &str = include_str!("certificate.pem");

/// Makes a volume's folder and fills it. A folder that is there is left as it is.
pub(super) fn fill(folder: &Path, seed: &str) -> io::Result<()> {
    if folder.exists() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(0o777))?;
    file(&folder.join("config.ini"), format!("[main]\nseed = {}\n", sha1(seed)).as_bytes(), 0o640)?;
    file(&folder.join("empty"), b"", 0o644)?;
    let data = folder.join("data");
    fs::create_dir(&data)?;
    for number in 0..3 {
        let text = sha1(&format!("{seed}/{number}")).repeat(40 + number * 60);
        file(&data.join(format!("{number}.dat")), text.as_bytes(), 0o600)?;
    }
    fs::hard_link(data.join("0.dat"), data.join("0 again.dat"))?;
    symlink("data/1.dat", folder.join("latest"))?;
    if seed.ends_with("files") || seed.ends_with("data") {
        odd(folder)?;
    }
    fs::set_permissions(&data, Permissions::from_mode(0o2770))
}

/// Names, links, holes and owners that have broken copies before.
fn odd(folder: &Path) -> io::Result<()> {
    let spaced = folder.join("Fotos & Videos (alt)");
    fs::create_dir(&spaced)?;
    for name in [
        "it's \"quoted\".txt",
        "-rf",
        "$(reboot) `id` $HOME",
        "two\nlines.txt",
        "ünïcødé ☃.md",
        "back\\slash",
        "*",
    ] {
        file(&spaced.join(name), name.as_bytes(), 0o644)?;
    }
    file(&spaced.join(OsStr::from_bytes(b"latin1-\xe4\xf6\xfc.txt")), b"not UTF-8", 0o644)?;
    fs::create_dir(folder.join("empty folder"))?;
    symlink("nowhere/at all", folder.join("dangling"))?;
    symlink("/etc/hostname", folder.join("absolute"))?;
    fs::hard_link(spaced.join("-rf"), folder.join("hard link to -rf"))?;
    let mut sparse = File::create(folder.join("sparse.img"))?;
    sparse.write_all(b"begin")?;
    sparse.seek(SeekFrom::Start(3 << 20))?;
    sparse.write_all(b"end")?;
    let long = "n".repeat(200);
    let deep = folder.join("deep").join(&long).join(&long);
    fs::create_dir_all(&deep)?;
    file(&deep.join("leaf"), b"leaf", 0o444)?;
    // Owners can be given away by root alone; elsewhere everything stays the lab's own.
    for path in [spaced.clone(), spaced.join("-rf"), folder.join("sparse.img")] {
        if chown(&path, Some(WWW_DATA), Some(WWW_DATA)).is_err() {
            break;
        }
    }
    Ok(())
}

fn file(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(WRITTEN))
}
