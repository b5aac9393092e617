use super::*;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

fn read(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_read(line.split(' ').map(OsString::from))
}

#[test]
fn an_option_of_serving_before_a_subcommand_is_an_error_and_not_ignored() {
    for line in ["l --port 3911 stack", "l --ephemeral token", "l --seed stack", "l --template t.yaml verify"] {
        let error = read(line).unwrap_err().to_string();
        assert!(error.contains("come after its name"), "{line}: {error}");
    }
    for line in ["l --port 3911 --seed", "l stack --port 3911", "l --data-dir d token", "l --json token --user u"] {
        assert!(read(line).is_ok(), "{line}");
    }
}

#[test]
fn help_names_the_variables_that_are_read() {
    let help = Cli::command().render_long_help().to_string();
    for variable in ["DATABASE_URL", "LEDGERLINE_POSTGRES", "LEDGERLINE_DATA_DIR", "LEDGERLINE_URL"] {
        assert!(help.contains(variable), "{variable}");
    }
}

#[test]
fn a_duration_is_a_number_and_a_unit() {
    assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
    assert_eq!(parse_duration("2d"), Ok(Duration::from_secs(172_800)));
    for wrong in ["", "12", "h", "-1h", "1.5h", "12ħ"] {
        assert!(parse_duration(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn with_json_whatever_fails_says_so_in_one_object() {
    let failed = anyhow::anyhow!("no such thing");
    let line = |arguments: &str| read(arguments).unwrap().failure_line(&failed);
    assert_eq!(line("l token --json").unwrap(), r#"{"error":{"code":"FAILED","message":"no such thing"}}"#);
    assert_eq!(line("l token"), None);
    let reported = Failure::new(Failure::NOT_WELL, "not all is well").into();
    assert_eq!(read("l diagnose --json").unwrap().failure_line(&reported), None, "the report is the last line");

    for (arguments, is_told) in [
        ("l verify --json --nonsense", true),
        ("l verify --tenant A! --json", true),
        ("l verify --nonsense", false),
        ("l verify --help --json", false),
    ] {
        let told = usage_line(arguments.split(' ').map(OsString::from), &read(arguments).unwrap_err());
        assert_eq!(told.is_some_and(|line| line.contains(r#""code":"USAGE""#)), is_told, "{arguments}");
    }
}
