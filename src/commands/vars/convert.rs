//! `fleet vars convert`: the settings of 0.3 to 0.5 as a `.flux.env` (guide row G9).

use std::fmt::Write as _;
use std::io::{self, Read as _};
use std::path::Path;

use secrecy::zeroize::Zeroizing;

use crate::cli::VarsConvertArgs;
use crate::commands::{Exit, Trouble, output};
use crate::files;
use crate::flux_env::convert::{Converted, convert, example};
use crate::flux_env::{LONGEST, parse};
use crate::form::count;
use crate::remote::printable;
use crate::report::screen::Look;

/// Converts, writes, and tells what is left for a person. No value goes to the screen.
pub(super) fn run(args: &VarsConvertArgs) -> Result<Exit, Trouble> {
    let settings = read(&args.settings)?;
    let keys = args.example.as_deref().map(read).transpose()?.map(|text| example(&text));
    let made =
        convert(&args.settings, &settings, keys.as_ref()).map_err(|why| Trouble::usage(printable(&why)))?;
    if made.taken.is_empty() {
        let said = format!(
            "{}: none of the settings is a variable that is known: nothing was written",
            args.settings.display()
        );
        return Err(Trouble::usage(printable(&said)));
    }
    let env = made.env();
    // What is written here must be what `fleet vars diff` takes.
    parse(&args.out, env.as_bytes()).map_err(Trouble::internal)?;
    write(args, env.as_bytes())?;
    output::print(&render(&made, &args.out))?;
    let well = made.missing.is_empty() && made.left.is_empty();
    Ok(if well { Exit::Done } else { Exit::Changes })
}

fn read(file: &Path) -> Result<Zeroizing<String>, Trouble> {
    let wrong =
        |why: &dyn std::fmt::Display| Trouble::usage(printable(&format!("{}: {why}", file.display())));
    let mut text = Zeroizing::new(String::new());
    let opened = std::fs::File::open(file).map_err(|error| wrong(&error))?;
    opened.take(LONGEST + 1).read_to_string(&mut text).map_err(|error| wrong(&error))?;
    if u64::try_from(text.len()).is_ok_and(|length| length <= LONGEST) {
        Ok(text)
    } else {
        Err(wrong(&"it is larger than 1 MiB"))
    }
}

fn write(args: &VarsConvertArgs, env: &[u8]) -> Result<(), Trouble> {
    let out = &args.out;
    let wrote = if args.replace { files::write_whole(out, env) } else { files::write_new(out, env) };
    wrote.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Trouble::usage(format!(
            "{} is there already and was not changed; --replace writes over it",
            out.display()
        )),
        _ => Trouble::internal(format!("{} cannot be written: {error}", out.display())),
    })
}

fn render(made: &Converted, out: &Path) -> String {
    let Converted { taken, missing, left, apps, .. } = made;
    let named = |pairs: &std::collections::BTreeMap<String, String>| -> Vec<String> {
        pairs.iter().map(|(key, of)| format!("{key}: {of}")).collect()
    };
    let mut text =
        format!("{} with {}, readable for you alone\n", out.display(), count(taken.len(), "variable"));
    let mut part = |title: &str, lines: &[String]| {
        if !lines.is_empty() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{title}");
            let _ = lines.iter().try_for_each(|line| writeln!(text, "  {}", printable(line)));
        }
    };
    part("Taken:", &named(taken));
    part("To be filled in by hand; each stands in the file as a comment:", &named(missing));
    part("Not taken, look at each:", left);
    let apps: Vec<String> =
        apps.iter().map(|app| format!("install/install-app.sh {}", crate::remote::quote(app))).collect();
    part("Was installed; what the new release has under this name comes with:", &apps);
    Look::of_stdout().finish(&text)
}
