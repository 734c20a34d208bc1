//! `mizzen analyze`: everything that is wrong or doubtful in a directory, before it runs: what
//! parsing and validation refuse, what does not fit together across objects, and what generation
//! cannot do.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use anyhow::bail;
use config::{Diagnostic, Severity};
use local::offline::MADE_UP;
use serde_json::{Value, json};

use crate::offline::{Files, Mesh};

/// Find what is wrong or doubtful in a directory of configuration
///
/// Exits with 1 when something at or above the threshold is found.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directories or files
    #[arg(value_name = "DIR")]
    paths: Vec<PathBuf>,
    /// The same, as other tools have it
    #[arg(short, long = "file", value_name = "DIR")]
    files: Vec<PathBuf>,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Log)]
    output: Output,
    /// The mildest finding that makes the exit code 1
    #[arg(long, value_enum, ignore_case = true, default_value_t = Threshold::Error)]
    failure_threshold: Threshold,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// One line a finding
    Log,
    /// Columns
    Table,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Threshold {
    #[value(name = "Error")]
    Error,
    #[value(name = "Warning")]
    Warning,
}

/// Prints what is found.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let paths: Vec<PathBuf> = args.files.iter().chain(&args.paths).cloned().collect();
    if paths.is_empty() {
        bail!("say what to analyze: mizzen analyze DIR");
    }
    let files = Files::read(&paths)?;
    let mut found = files.catalog.diagnostics().to_vec();
    // Of a file that is refused nothing is generated.
    let generated = Mesh::of(&files.objects()).push.diagnostics().to_vec();
    found.extend(generated.into_iter().filter(|diagnostic| &*diagnostic.file != MADE_UP));
    found.sort();
    found.dedup();
    print(&found, args.output, &paths)?;
    let fails = found.iter().any(|one| match args.failure_threshold {
        Threshold::Error => one.is_error(),
        Threshold::Warning => true,
    });
    Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print(found: &[Diagnostic], output: Output, paths: &[PathBuf]) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    match output {
        Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(&values(found))?)?,
        Output::Yaml => write!(out, "{}", serde_saphyr::to_string(&values(found))?)?,
        Output::Table => writeln!(out, "{}", table(found))?,
        Output::Log => {
            for diagnostic in found {
                writeln!(out, "{}", line(diagnostic))?;
            }
            let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            writeln!(out, "{}", summary(found, &shown.join(", ")))?;
        }
    }
    Ok(())
}

fn name(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "Error",
        Severity::Warning => "Warning",
    }
}

/// `Error [unknown-field] (VirtualService shop/cart mesh.yaml:12:7) spec.http[0]…: what (help)`.
fn line(diagnostic: &Diagnostic) -> String {
    let style = match diagnostic.severity {
        Severity::Error => Style::new().bold().fg_color(Some(AnsiColor::Red.into())),
        Severity::Warning => Style::new().bold().fg_color(Some(AnsiColor::Yellow.into())),
    };
    let object = diagnostic.object.as_ref().map_or_else(String::new, |key| format!("{key} "));
    format!(
        "{style}{}{style:#} [{}] ({object}{}:{}:{}) {}",
        name(diagnostic.severity),
        diagnostic.code,
        diagnostic.file,
        diagnostic.line,
        diagnostic.column,
        what(diagnostic),
    )
}

fn what(diagnostic: &Diagnostic) -> String {
    let field = diagnostic.field.as_ref().map_or_else(String::new, |field| format!("{field}: "));
    let help = diagnostic.help.as_ref().map_or_else(String::new, |help| format!(" ({help})"));
    format!("{field}{}{help}", diagnostic.message)
}

fn summary(found: &[Diagnostic], paths: &str) -> String {
    let errors = found.iter().filter(|one| one.is_error()).count();
    let warnings = found.len() - errors;
    if found.is_empty() {
        return format!("nothing wrong found in {paths}");
    }
    let plural = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        many => format!("{many} {word}s"),
    };
    format!("{} and {} in {paths}", plural(errors, "error"), plural(warnings, "warning"))
}

fn table(found: &[Diagnostic]) -> String {
    let mut table = comfy_table::Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_header(["SEVERITY", "CODE", "OBJECT", "PLACE", "MESSAGE"]);
    for one in found {
        table.add_row([
            name(one.severity).to_owned(),
            one.code.to_owned(),
            one.object.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            format!("{}:{}:{}", one.file, one.line, one.column),
            what(one),
        ]);
    }
    let lines = table.to_string();
    lines.lines().map(str::trim).collect::<Vec<_>>().join("\n")
}

/// The fields of `istioctl analyze`, and place and field besides.
fn values(found: &[Diagnostic]) -> Value {
    found
        .iter()
        .map(|one| {
            json!({
                "code": one.code,
                "level": name(one.severity),
                "origin": one.object.as_ref().map(ToString::to_string),
                "reference": format!("{}:{}", one.file, one.line),
                "message": what(one),
                "file": &*one.file,
                "line": one.line,
                "column": one.column,
                "field": one.field,
            })
        })
        .collect()
}
