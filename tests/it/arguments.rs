//! What the command understands of its arguments and variables, and what it says of
//! the others.

use crate::support::{
    Gateway,
    certs::{self, Kind, VALID},
    config::Files,
    process::Exit,
};

const MINIMAL: &str = "listeners: [{ name: web, address: '127.0.0.1:1' }]
readiness: { address: '127.0.0.1:2' }
admin: { socket: admin.sock }
";

const ORDERS: &str = "upstreams: [{ name: orders, endpoints: [{ address: '127.0.0.1:3' }] }]
routes: [{ name: orders, to: [{ upstream: orders }] }]
";

fn files(yaml: &str) -> (Files, String) {
    let files = Files::new();
    files.write("tollgate.yaml", yaml);
    let main = files.main().display().to_string();
    (files, main)
}

fn is_usage(told: &Exit, wanted: &[&str]) {
    assert_eq!((told.code, told.stdout.as_str()), (Some(2), ""), "{told:?}");
    wanted.iter().for_each(|wanted| assert!(told.stderr.contains(wanted), "no `{wanted}` in {told:?}"));
}

#[tokio::test]
async fn the_sockets_variable_is_not_looked_at_where_files_are_asked_and_a_socket_is_refused() {
    let (_files, main) = files(&format!("{MINIMAL}{ORDERS}"));

    for verb in [&["simulate"][..], &["explain", "--host", "a.test"]] {
        let asked = [verb, &["--config", &main]].concat();

        let by_variable = Gateway::cli_in(&asked, &[("TOLLGATE_SOCKET", "/none.sock")]).await;
        let by_argument = Gateway::cli(&[&asked[..], &["--socket", "/none.sock"]].concat()).await;

        assert_eq!((by_variable.code, by_variable.stderr.as_str()), (Some(0), ""), "{by_variable:?}");
        is_usage(&by_argument, &["--config", "--socket", "cannot be used with"]);
    }
    let nobody = Gateway::cli_in(&["status"], &[("TOLLGATE_SOCKET", "/none.sock")]).await;
    assert!(nobody.stderr.contains("no gateway listens at /none.sock"), "{nobody:?}");
}

#[tokio::test]
async fn the_configuration_is_named_in_the_same_ways_everywhere() {
    let (files, main) =
        files(&format!("{MINIMAL}signers: [{{ name: one, issuer: 'https://g.test', keys: jwt }}]\n"));
    let jwt = files.path("jwt").display().to_string();
    std::fs::create_dir(&jwt).unwrap();
    assert_eq!(Gateway::cli(&["keys", "generate", "--out", &jwt]).await.code, Some(0));
    let named = [("TOLLGATE_CONFIG", main.as_str())];

    for verb in [&["check"][..], &["keys", "list"], &["keys", "export", "--jwks"]] {
        let with = |more: &[&str]| [verb, more].concat().iter().map(ToString::to_string).collect::<Vec<_>>();
        for arguments in [with(&["--config", &main]), with(&["-c", &main]), with(&["-p", &main])] {
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            let told = Gateway::cli(&arguments).await;
            assert_eq!(told.code, Some(0), "{arguments:?}: {told:?}");
        }
        let told = Gateway::cli_in(verb, &named).await;
        assert_eq!(told.code, Some(0), "{verb:?}: {told:?}");
    }
    // Named by hand counts more than by a variable.
    let other = [("TOLLGATE_CONFIG", "/none.yaml")];
    assert_eq!(Gateway::cli_in(&["check", &main], &other).await.code, Some(0));
    assert_eq!(Gateway::cli_in(&["keys", "list", &jwt], &other).await.code, Some(0));
    is_usage(&Gateway::cli(&["check", &main, "--config", &main]).await, &["cannot be used with"]);
    is_usage(&Gateway::cli(&["keys", "list", &jwt, "--signer", "one"]).await, &["cannot be used with"]);
    let told = Gateway::cli_in(&["keys", "list", "--signer", "none"], &named).await;
    is_usage(&told, &["there is no signer `none`; write `one`"]);
}

#[tokio::test]
async fn what_would_be_ignored_is_refused() {
    let (_files, main) = files(MINIMAL);

    is_usage(&Gateway::cli(&["status", "--config", "--json"]).await, &["cannot be used with"]);
    is_usage(&Gateway::cli(&["check", &main, "--print", "--json"]).await, &["cannot be used with"]);
    is_usage(&Gateway::cli(&["prove", "127.0.0.1:1", "--config", &main]).await, &["--route", "--signer"]);
}

#[tokio::test]
async fn a_time_is_read_with_its_unit_and_without() {
    let socket = ["--socket", "/none.sock"];
    for arguments in [
        &["drain", "--accept-for", "30s"][..],
        &["drain", "--accept-for", "0"],
        &["upgrade", "--timeout", "2m"],
        &["upgrade", "--timeout", "60"],
        &["reload", "--confirm", "120"],
        &["reload", "--confirm", "5m"],
    ] {
        let told = Gateway::cli(&[arguments, &socket].concat()).await;
        assert_eq!(told.code, Some(75), "{arguments:?}: {told:?}");
    }
    for arguments in [
        &["drain", "--accept-for", "x"][..],
        &["upgrade", "--timeout", "0"],
        &["upgrade", "--timeout", "1500ms"],
        &["status", "--watch", "x"],
        &["reload", "--confirm", "1d"],
        &["prove", "127.0.0.1:1", "--signer", "a", "--timeout", "soon"],
    ] {
        is_usage(&Gateway::cli(&[arguments, &socket[..0]].concat()).await, &["; write "]);
    }
}

#[tokio::test]
async fn check_notes_a_folder_that_is_missing_and_a_start_says_what_to_do() {
    let yaml = MINIMAL.replace("admin.sock", "none/admin.sock");
    let (_files, main) = files(&format!("{yaml}access_log: {{ path: logs/access.log }}\n"));
    let (_no_log, no_log) =
        files(&yaml.replace("127.0.0.1:1'", "127.0.0.1:0'").replace("127.0.0.1:2'", "127.0.0.1:0'"));

    let checked = Gateway::cli(&["check", "--strict", &main]).await;
    let logs = Gateway::cli(&["run", "--config", &main]).await;
    let socket = Gateway::cli(&["run", "--config", &no_log]).await;

    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.stdout.contains("(1 listener, 0 upstreams, 0 routes, 0 certificates)"), "{checked:?}");
    for key in ["note: admin.socket: the folder", "note: access_log.path: the folder"] {
        assert!(checked.stdout.contains(key), "{checked:?}");
    }
    for (told, what) in [(logs, "access_log.path"), (socket, "none/admin.sock")] {
        assert_eq!(told.code, Some(1), "{told:?}");
        assert!(
            told.stderr.contains(what) && told.stderr.contains("its folder does not exist: make it"),
            "{told:?}"
        );
    }
}

#[tokio::test]
async fn keys_that_are_missing_or_name_no_limit_are_told_with_their_place() {
    let keys = "authentication: [{ name: partners, api_keys: { files: [keys.yaml] } }]\n";
    let (files, main) = files(&format!("{MINIMAL}{keys}"));

    let missing = Gateway::cli(&["check", &main]).await;
    let sha = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    files.write("keys.yaml", &format!("keys:\n  - {{ consumer: a, sha256: {sha}, limits: [gold] }}\n"));
    let unknown = Gateway::cli(&["check", &main]).await;

    assert_eq!((missing.code, unknown.code), (Some(78), Some(78)), "{missing:?} {unknown:?}");
    for wanted in
        ["tollgate.yaml:4: authentication[0].api_keys.files[0]: ", "keys.yaml`", "tollgate apikey new"]
    {
        assert!(missing.stderr.contains(wanted), "no `{wanted}` in {missing:?}");
    }
    assert!(unknown.stderr.contains("keys.yaml:2: keys[0].limits"), "{unknown:?}");
}

#[tokio::test]
async fn a_pair_that_is_swapped_is_one_error() {
    let issued = certs::server_with(&certs::authority(), &["a.test"], Kind::Ecdsa, VALID);
    let (files, main) = files(
        "listeners: [{ name: web, address: '127.0.0.1:1', tls: { certificates: [{ chain: a.key, key: a.pem }] } }]
readiness: { address: '127.0.0.1:2' }
admin: { socket: admin.sock }
",
    );
    files.pair("a", &issued);

    let told = Gateway::cli(&["check", &main]).await;

    assert_eq!(told.code, Some(78), "{told:?}");
    assert_eq!(told.stderr.lines().count(), 1, "{told:?}");
    assert!(told.stderr.contains("swap `chain` and `key`"), "{told:?}");
}

#[tokio::test]
async fn zones_in_a_file_of_endpoints_are_looked_at_as_well() {
    let upstream = "location: { zone: imds }
upstreams: [{ name: orders, outlier_detection: {}, endpoints_file: orders.yaml }]
";
    let (files, main) = files(&format!("{MINIMAL}{upstream}"));
    files.write("orders.yaml", "endpoints:\n  - { address: '10.0.0.1:80', zone: us-east-1a }\n");

    let told = Gateway::cli(&["check", &main]).await;

    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(
        told.stderr.contains("orders.yaml:2: endpoints[0].zone: `us-east-1a` is a zone's name"),
        "{told:?}"
    );
}
