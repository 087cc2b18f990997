//! The command by itself: what it prints, and its exit codes.

use serde_json::Value;

use crate::support::{
    Gateway,
    certs::{self, Kind},
    process::Exit,
};

#[tokio::test]
async fn check_as_json_says_where_and_what() {
    let bad = Gateway::builder().yaml("connections: { max: many }\nrequests: { max_bodi: 1MiB }");
    let good = Gateway::builder();

    let (told, well) = (json(&bad.check(&["--json"]).await, 78), json(&good.check(&["--json"]).await, 0));

    assert_eq!((&told["ok"], &well["ok"]), (&false.into(), &true.into()));
    assert_eq!(well["problems"], Value::Array(Vec::new()));
    let problems = told["problems"].as_array().unwrap();
    let key = |nth: usize| (problems[nth]["key"].as_str().unwrap(), problems[nth]["line"].as_u64().unwrap());
    assert_eq!((key(0), key(1)), (("connections.max", 1), ("requests.max_bodi", 2)));
    for problem in problems {
        assert_eq!(problem["severity"], "error");
        assert_eq!(problem["file"], bad.files.main().display().to_string());
        assert!(problem["text"].as_str().unwrap().len() > 10, "{problem}");
    }
}

#[tokio::test]
async fn a_warning_is_told_and_counts_when_strict() {
    let old = certs::server_with(&certs::authority(), &["a.test"], Kind::Ecdsa, -7_200..-3_600);
    let builder = Gateway::builder().certificate(&old);

    let (usual, strict) = (builder.check(&[]).await, builder.check(&["--strict"]).await);
    let told = json(&builder.check(&["--strict", "--json"]).await, 78);

    assert_eq!((usual.code, strict.code), (Some(0), Some(78)), "{usual:?} {strict:?}");
    assert!(usual.stdout.starts_with("ok: "), "{usual:?}");
    for told in [&usual, &strict] {
        assert!(told.stderr.starts_with("warning: ") && told.stderr.contains("expired"), "{told:?}");
    }
    assert_eq!((&told["ok"], &told["problems"][0]["severity"]), (&false.into(), &"warning".into()));
}

#[tokio::test]
async fn what_check_prints_loads_again_and_prints_the_same() {
    let builder = Gateway::builder()
        .file("team", "orders")
        .file("conf.d/10.yaml", "routes: [{ name: ours, match: { path: /ours }, to: [{ upstream: orders }] }]\n")
        .certificate(&certs::server(&certs::authority(), &["a.test"]))
        .yaml(
            r#"
            upstreams: [{ name: orders, endpoints: [{ address: "127.0.0.1:1" }] }]
            routes:
              - name: masked
                match: { path: { pattern: "^/[0-9]+$" } }
                to: [{ upstream: "${file:team}" }]
                request_headers: { set: [{ name: x-key, value: "${env:PATH}" }] }
              - { name: said, match: { hosts: ["*.b.test"] }, respond: { status: 200, body: "a: [b] # 'c'\n" } }
            "#,
        );

    let first = builder.check(&["--print"]).await;
    assert_eq!((first.code, first.stderr.as_str()), (Some(0), ""), "{first:?}");
    builder.files.write("again.yaml", &first.stdout);
    std::fs::remove_dir_all(builder.files.path("conf.d")).unwrap();
    let again = builder.files.path("again.yaml").display().to_string();
    let second = Gateway::cli(&["check", &again, "--print"]).await;

    assert_eq!((second.code, second.stdout.as_str()), (Some(0), first.stdout.as_str()), "{second:?}");
    for written in
        ["name: ours", "max_age: 10m", "max_header_fields: 100", "attempts: 2", "${file:team}", "${env:PATH}"]
    {
        assert!(first.stdout.contains(written), "no `{written}` in {}", first.stdout);
    }
    assert!(!first.stdout.contains("/bin"), "a secret is told: {}", first.stdout);
}

#[tokio::test]
async fn the_schema_knows_every_section() {
    let told = Gateway::cli(&["schema"]).await;
    let printed = Gateway::builder().check(&["--print"]).await;

    let schema = json(&told, 0);
    let sections = schema["properties"].as_object().unwrap();
    for line in printed.stdout.lines().filter(|line| !line.starts_with([' ', '-'])) {
        let section = line.split(':').next().unwrap();
        assert!(sections.contains_key(section), "no `{section}` in {sections:?}");
    }
    for section in
        ["listeners", "readiness", "admin", "upstreams", "routes", "connections", "requests", "access_log"]
    {
        assert!(sections[section].is_object(), "{section}");
    }
    assert_eq!(schema["additionalProperties"], false);
}

#[tokio::test]
async fn every_verb_has_help_that_fits_a_terminal() {
    for verb in [
        "",
        "run",
        "check",
        "reload",
        "status",
        "explain",
        "keys",
        "keys generate",
        "keys list",
        "keys export",
        "keys status",
        "jwt verify",
        "prove",
        "schema",
        "completions",
        "version",
    ] {
        let arguments: Vec<_> = verb.split_whitespace().chain(["--help"]).collect();
        let told = Gateway::cli(&arguments).await;

        assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""), "{told:?}");
        assert!(told.stdout.contains("Usage: tollgate"), "{told:?}");
        for line in told.stdout.lines() {
            assert!(line.chars().count() <= 100, "{verb}: {line}");
        }
    }
}

#[tokio::test]
async fn completions_and_version_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        let told = Gateway::cli(&["completions", shell]).await;
        assert_eq!(told.code, Some(0));
        assert!(told.stdout.contains("tollgate") && told.stdout.contains("reload"), "{shell}");
    }
    let versions = [Gateway::cli(&["version"]).await, Gateway::cli(&["--version"]).await];
    for told in versions {
        assert_eq!((told.code, told.stdout), (Some(0), format!("tollgate {}\n", env!("CARGO_PKG_VERSION"))));
    }
}

#[tokio::test]
async fn what_cannot_be_understood_is_exit_code_2() {
    for arguments in [
        &[][..],
        &["serve"],
        &["run", "file.yaml"],
        &["check", "--jsn"],
        &["completions", "csh"],
        &["reload", "--socket"],
    ] {
        let told = Gateway::cli(arguments).await;

        assert_eq!((told.code, told.stdout.as_str()), (Some(2), ""), "{arguments:?}: {told:?}");
        assert!(told.stderr.contains("--help"), "{arguments:?}: {told:?}");
    }
}

#[tokio::test]
async fn every_file_under_conf_is_fine_as_far_as_its_files_are_there() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/");
    let reference = Gateway::cli(&["check", &format!("{folder}tollgate.yaml")]).await;
    let demo = Gateway::cli(&["check", "--json", &format!("{folder}demo.yaml")]).await;
    // 0 where `make run` has made the certificate already.
    let demo = json(&demo, demo.code.filter(|code| *code == 0).unwrap_or(78));

    assert_eq!(reference.code, Some(0), "{reference:?}");
    // The demo's certificate is made when it runs.
    for problem in demo["problems"].as_array().unwrap() {
        assert!(
            problem["key"].as_str().unwrap().starts_with("listeners[0].tls.certificates[0]"),
            "{problem}"
        );
    }
}

fn json(told: &Exit, code: i32) -> Value {
    assert_eq!((told.code, told.stderr.as_str()), (Some(code), ""), "{told:?}");
    serde_json::from_str(&told.stdout).unwrap_or_else(|why| panic!("{why}: {}", told.stdout))
}

#[tokio::test]
async fn the_man_page_names_every_verb() {
    let page = std::fs::read_to_string("systemd/tollgate.8").unwrap();
    let help = Gateway::cli(&["--help"]).await.stdout;

    let commands = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap();
    let verbs: Vec<_> = commands.lines().filter_map(|line| line.split_whitespace().next()).collect();
    // As in `.B run` and `.BR keys ", " jwt`.
    let bold: Vec<_> =
        page.lines().filter(|line| line.starts_with(".B")).flat_map(str::split_whitespace).collect();

    assert!(verbs.len() > 10, "{help}");
    let missing: Vec<_> = verbs.iter().filter(|verb| !bold.contains(verb)).collect();
    assert!(missing.is_empty(), "systemd/tollgate.8 does not tell of {missing:?}");
}
