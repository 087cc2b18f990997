//! Everything that can be wrong with a section, in the words the operator gets.

use boring::{pkey::Private, symm::Cipher};

use super::*;

fn told(folder: &Folder, names: &[&str], more: &str) -> String {
    folder.told(&listing(names, more)).replace("tollgate.yaml: listeners[0].tls", "T")
}

fn key_of(issued: &Issued) -> PKey<Private> {
    PKey::private_key_from_pem(issued.key.as_bytes()).unwrap()
}

fn pem(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_good_section_has_none() {
    let folder = Folder::with(&["a.test"]);

    let told = told(&folder, &["a.test"], "client_auth: [{ mode: required, ca: ca.pem }]");

    assert_eq!(told, "");
}

#[test]
fn a_section_needs_a_certificate() {
    assert_eq!(
        Folder::new().told("{}"),
        "error: tollgate.yaml: listeners[0].tls: no certificate; \
         list one under `certificates` or name a `certificate_directory`\n"
    );
}

#[test]
fn files_that_are_missing_empty_or_folders_are_all_told() {
    let folder = Folder::with(&["a.test"]);
    folder.write("empty.pem", "\n");
    std::fs::create_dir(folder.path().join("empty.key")).unwrap();

    let told = told(&folder, &["gone", "empty"], "client_auth: [{ mode: required, ca: gone-ca.pem }]");

    assert_eq!(
        told,
        "\
error: T.certificates[0].chain: `DIR/gone.pem` does not exist; write the path of a certificate chain in PEM, leaf first
error: T.certificates[0].key: `DIR/gone.key` does not exist; write the path of a private key in PEM
error: T.certificates[1].chain: `DIR/empty.pem` is empty; write a certificate chain in PEM, leaf first into it
error: T.certificates[1].key: `DIR/empty.key` is a folder; write the path of a private key in PEM
error: T.client_auth[0].ca: `DIR/gone-ca.pem` does not exist; write the path of certificate authorities in PEM
"
    );
}

#[test]
fn files_without_what_belongs_into_them_are_told() {
    let folder = Folder::with(&["a.test"]);
    let (a, damaged) = (ecdsa(&["a.test"]), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    folder.pair("swapped", &Issued { chain: a.key.clone(), key: a.chain.clone() });
    folder.pair("text", &Issued { chain: "hello".into(), key: "hello".into() });
    folder.pair("damaged", &Issued { chain: damaged.into(), key: a.key.replacen("MI", "!!", 1) });
    folder.write("text-ca.pem", "hello");
    folder.write("damaged-ca.pem", damaged);
    let auth = "client_auth: [{ hosts: [a], mode: required, ca: text-ca.pem }, \
                              { hosts: [b], mode: optional, ca: damaged-ca.pem }]";

    let told = told(&folder, &["swapped", "text", "damaged"], auth);

    assert_eq!(
        told,
        "\
error: T.certificates[0].chain: `DIR/swapped.pem` holds a key and no certificate; swap `chain` and `key`
error: T.certificates[1].chain: `DIR/text.pem` holds no certificate; write a certificate chain in PEM, leaf first into it
error: T.certificates[1].key: `DIR/text.key` holds no private key; write a private key in PEM into it
error: T.certificates[2].chain: `DIR/damaged.pem` holds a damaged certificate; copy the file again
error: T.certificates[2].key: `DIR/damaged.key` holds a damaged private key; copy the file again
error: T.client_auth[0].ca: `DIR/text-ca.pem` holds no certificate; write certificate authorities in PEM into it
error: T.client_auth[1].ca: `DIR/damaged-ca.pem` holds a damaged certificate; copy the file again
"
    );
}

#[test]
fn keys_that_cannot_serve_are_told() {
    let folder = Folder::new();
    let issued = ecdsa(&["a.test"]);
    let locked =
        key_of(&issued).private_key_to_pem_pkcs8_passphrase(Cipher::aes_128_cbc(), b"secret").unwrap();
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n";
    let edwards = PKey::generate(boring::pkey::Id::ED25519).unwrap().private_key_to_pem_pkcs8().unwrap();
    folder.pair("locked", &Issued { key: pem(locked), ..issued.clone() });
    folder.pair("old", &Issued { key: old.into(), ..issued.clone() });
    folder.pair("edwards", &Issued { key: pem(edwards), ..issued.clone() });
    folder.pair("short", &testing::leaf(&CA, &["a.test"], Kind::Rsa(1024), VALID).unwrap());
    folder.pair("other", &Issued { key: ecdsa(&["a.test"]).key, ..issued });

    let told = told(&folder, &["locked", "old", "edwards", "short", "other"], "");

    assert_eq!(
        told,
        "\
error: T.certificates[0].key: `DIR/locked.key` is encrypted; write it without a passphrase (`openssl pkey -in … -out …`)
error: T.certificates[1].key: `DIR/old.key` is encrypted; write it without a passphrase (`openssl pkey -in … -out …`)
error: T.certificates[2].key: `DIR/edwards.key` is a key that TLS clients do not take; make an ECDSA P-256 or RSA 2048 one
error: T.certificates[3].key: `DIR/short.key` is an RSA key of 1024 bits; use 2048 bits or ECDSA P-256
error: T.certificates[4].key: `DIR/other.key` is not the key of the first certificate in `DIR/other.pem`; give the two that belong
"
    );
}

#[test]
fn every_common_form_of_a_key_is_read() {
    let folder = Folder::new();
    let elliptic = ecdsa(&["a.test"]);
    let sec1 = pem(key_of(&elliptic).ec_key().unwrap().private_key_to_pem().unwrap());
    // As `openssl ecparam -genkey` writes it.
    let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let rsa = testing::leaf(&CA, &["b.test"], Kind::Rsa(2048), VALID).unwrap();
    let pkcs1 = pem(key_of(&rsa).rsa().unwrap().private_key_to_pem().unwrap());
    assert!(sec1.contains("BEGIN EC PRIVATE KEY") && pkcs1.contains("BEGIN RSA PRIVATE KEY"));
    folder.pair("sec1", &Issued { key: format!("{parameters}{sec1}"), ..elliptic });
    folder.pair("pkcs1", &Issued { key: pkcs1, ..rsa.clone() });

    assert_eq!(told(&folder, &["sec1", "pkcs1"], ""), "");
}

#[test]
fn a_chain_in_the_wrong_order_is_told() {
    let folder = Folder::new();
    let middle = testing::intermediate(&CA, "Issuing").unwrap();
    let (middle_pem, root) = (middle.pem().unwrap(), CA.pem().unwrap());
    let issued = testing::leaf(&middle, &["a.test"], Kind::Ecdsa, VALID).unwrap();
    let leaf = &issued.chain;
    folder.pair("last", &Issued { chain: format!("{root}{middle_pem}{leaf}"), ..issued.clone() });
    folder.pair("mixed", &Issued { chain: format!("{leaf}{root}{middle_pem}"), ..issued.clone() });

    let told = told(&folder, &["last", "mixed"], "");

    assert_eq!(
        told,
        "\
error: T.certificates[0].key: the certificate of `DIR/last.key` is number 3 in `DIR/last.pem`; put it first, then its issuers
warning: T.certificates[1].chain: certificate 2 in `DIR/mixed.pem` did not issue certificate 1; order them leaf first, each followed by its issuer
"
    );
}

#[test]
fn what_is_expired_or_soon_or_not_yet_valid_loads_with_a_warning() {
    let folder = Folder::with(&[]);
    let day = 86_400;
    let put = |name: &str, valid| {
        folder.pair(name, &testing::leaf(&CA, &[&format!("{name}.test")], Kind::Ecdsa, valid).unwrap());
    };
    put("past", -2 * day..-day);
    put("soon", -30 * day..13 * day + 60);
    // What lives for hours is always about to end: only its last third is soon.
    put("brief", -60..7_200);
    put("last-third", -7_200..3_500);
    put("later", -day..15 * day);
    put("future", day..30 * day);

    let (table, problems) =
        folder.build(&listing(&["past", "soon", "later", "future", "brief", "last-third"], ""));

    let date = |days: i64| (time::OffsetDateTime::now_utc() + time::Duration::days(days)).date();
    let path = |name| folder.path().join(name).display().to_string();
    let texts: Vec<_> = problems.iter().map(|problem| problem.text.clone()).collect();
    assert!(table.is_some());
    assert_eq!(texts[0], format!("`{}` expired on {}; it is refused: renew it", path("past.pem"), date(-1)));
    let soon =
        (time::OffsetDateTime::now_utc() + time::Duration::days(13) + time::Duration::minutes(1)).date();
    assert_eq!(texts[1], format!("`{}` expires on {soon} (days left: 13); renew it", path("soon.pem")));
    let future = path("future.pem");
    assert_eq!(texts[2], format!("`{future}` is not valid before {}; until then it is refused", date(1)));
    let last = format!("`{}` expires on", path("last-third.pem"));
    assert!(texts[3].starts_with(&last), "{}", texts[3]);
    assert_eq!(texts.len(), 4);
}

#[test]
fn names_that_nobody_can_ask_for_are_warned_of() {
    let folder = Folder::new();
    folder.pair("nameless", &ecdsa(&[]));
    folder.pair("odd", &ecdsa(&["a*.test", "b.test"]));

    let told = told(&folder, &["nameless", "odd"], "");

    assert_eq!(
        told,
        "\
warning: T.certificates[0].chain: `DIR/nameless.pem` has no DNS name (subjectAltName); it can only be the default
warning: T.certificates[1].chain: `DIR/odd.pem` names `a*.test`, which no client can ask for
"
    );
}

#[test]
fn two_certificates_of_a_kind_for_a_name_are_refused_unless_they_are_the_same() {
    let folder = Folder::with(&["a.test"]);
    folder.pair("second", &ecdsa(&["*.b.test", "a.test"]));
    folder.pair("third", &ecdsa(&["*.b.test"]));
    folder.pair("rsa", &testing::leaf(&CA, &["a.test"], Kind::Rsa(2048), VALID).unwrap());

    assert_eq!(told(&folder, &["a.test", "rsa", "a.test"], ""), "");
    assert_eq!(
        told(&folder, &["a.test", "second", "third"], ""),
        "\
error: T.certificates[1].chain: `DIR/second.pem` and `DIR/a.test.pem` are both ECDSA certificates for `a.test`; keep one of them
error: T.certificates[2].chain: `DIR/third.pem` and `DIR/second.pem` are both ECDSA certificates for `*.b.test`; keep one of them
"
    );
}

#[test]
fn a_key_that_everybody_can_read_is_warned_of() {
    let folder = Folder::with(&["a.test"]);
    let key = folder.path().join("a.test.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();

    assert_eq!(
        told(&folder, &["a.test"], ""),
        "warning: T.certificates[0].key: `DIR/a.test.key` can be read by every user of this machine \
         (mode 0644); `chmod 640` it\n"
    );
}

#[test]
fn a_folder_s_halves_without_partner_are_told() {
    let folder = Folder::with(&["b.test"]);
    folder.write("c.key", "");
    folder.write("notes.txt", "");
    std::fs::create_dir(folder.path().join("none")).unwrap();
    let told = |path: &str| {
        let told = folder.told(&format!("certificate_directory: {path}"));
        told.replace("tollgate.yaml: listeners[0].tls.certificate_directory", "D")
    };

    assert_eq!(
        told("."),
        "\
error: D: `DIR/./c.key` has no `DIR/./c.pem` beside it; put its certificate chain there
error: D: `DIR/./ca.pem` has no `DIR/./ca.key` beside it; put its key there
"
    );
    assert_eq!(told("none"), "error: D: `DIR/none` holds no pair; put NAME.pem and NAME.key there\n");
    assert_eq!(
        told("gone"),
        "error: D: `DIR/gone` cannot be listed (No such file or directory (os error 2)); \
         write the path of a folder\n"
    );
}

#[test]
fn hosts_of_client_auth_are_claimed_once() {
    let folder = Folder::with(&["a.test"]);
    let auth = "client_auth:
  - { hosts: [b.test, \"*.test\"], mode: required, ca: ca.pem }
  - { hosts: [\"*\", \"*.test\"], mode: optional, ca: ca.pem }
  - { mode: optional, ca: ca.pem }
  - { hosts: [], mode: optional, ca: ca.pem }";

    assert_eq!(
        told(&folder, &["a.test"], auth),
        "\
error: T.client_auth[1].hosts[1]: `*.test` is at listeners[0].tls.client_auth[0].hosts[1] too; keep one
error: T.client_auth[2].hosts[0]: `*` is at listeners[0].tls.client_auth[1].hosts[0] too; keep one
error: T.client_auth[3].hosts: no host; write hosts, or leave the key out for every host
"
    );
}

#[test]
fn an_expired_authority_is_warned_of() {
    let folder = Folder::with(&["a.test"]);
    let leaf = testing::leaf(&CA, &["old"], Kind::Ecdsa, -172_800..-86_400).unwrap();
    folder.write("old-ca.pem", &leaf.chain);

    let told = told(&folder, &["a.test"], "client_auth: [{ mode: required, ca: old-ca.pem }]");

    assert!(told.starts_with("warning: T.client_auth[0].ca: `DIR/old-ca.pem` expired on "), "{told}");
}

#[test]
fn no_problem_shows_key_material() {
    let folder = Folder::new();
    let issued = ecdsa(&["a.test"]);
    let secret: Vec<_> = issued.key.lines().filter(|line| !line.starts_with("---")).collect();
    folder.pair("other", &Issued { chain: ecdsa(&["b.test"]).chain, key: issued.key.clone() });
    folder.pair("swapped", &Issued { chain: issued.key.clone(), key: issued.chain.clone() });
    folder.pair("damaged", &Issued { key: issued.key.replacen("MI", "!!", 1), ..issued.clone() });

    let told = told(&folder, &["other", "swapped", "damaged"], "");

    assert_eq!(told.lines().count(), 3, "{told}");
    assert!(secret.iter().all(|line| !told.contains(line)), "{told}");
}
