//! Everything that a folder of keys can be, in the words the operator gets.

use std::{fs, os::unix::fs::PermissionsExt};

use boring::{
    ec::{EcGroup, EcKey},
    nid::Nid,
    rsa::Rsa,
    symm::Cipher,
};

use super::*;
use crate::jwt::{
    JwtLive,
    testing::{self, Folder, RSA, start},
};

fn told(folder: &Folder, more: &str) -> String {
    testing::built(more, folder, &JwtLive::default(), start()).err().unwrap_or_default()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn p256() -> String {
    testing::pem(Algorithm::Es256)
}

fn on(curve: Nid) -> EcKey<Private> {
    EcKey::generate(&EcGroup::from_curve_name(curve).unwrap()).unwrap()
}

const MAKE: &str = "tollgate keys generate --algorithm ES256 --out";

#[test]
fn every_common_form_of_a_key_is_read() {
    let elliptic = on(Nid::X9_62_PRIME256V1);
    let rsa = PKey::private_key_from_pem(RSA.as_bytes()).unwrap();
    // As `openssl ecparam -genkey` writes it.
    let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let sec1 = text(elliptic.private_key_to_pem().unwrap());
    let forms = [
        ("ES256", p256()),
        ("ES256", sec1.clone()),
        ("ES256", format!("{parameters}{sec1}")),
        ("EdDSA", testing::pem(Algorithm::EdDsa)),
        ("RS256", RSA.clone()),
        ("PS256", text(rsa.rsa().unwrap().private_key_to_pem().unwrap())),
    ];

    for (algorithm, pem) in forms {
        let folder = Folder::new();
        folder.write("a.key", &pem);
        assert_eq!(told(&folder, &format!("algorithm: {algorithm}")), "", "{algorithm}");
    }
}

#[test]
fn a_folder_that_is_missing_or_holds_no_key_is_told() {
    let folder = Folder::new();
    folder.write("README", "nothing");
    folder.write(".hidden.pem", "nothing");

    assert_eq!(told(&folder, ""), format!("error: `DIR` holds no key; put one there: `{MAKE} DIR`\n"));

    folder.remove("README");
    folder.remove(".hidden.pem");
    fs::remove_dir(folder.path()).unwrap();
    assert_eq!(
        told(&folder, ""),
        "error: `DIR` cannot be listed (No such file or directory (os error 2)); write the path of a folder\n"
    );
}

#[test]
fn keys_that_cannot_be_read_are_all_told_with_their_files() {
    let folder = Folder::new();
    let key = PKey::private_key_from_pem(p256().as_bytes()).unwrap();
    let locked = key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_128_cbc(), b"secret").unwrap();
    folder.write("a-good.pem", &p256());
    folder.write("b-locked.pem", &text(locked));
    folder.write(
        "c-old.pem",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n",
    );
    folder.write("d-public.pem", &text(key.public_key_to_pem().unwrap()));
    folder.write("e-text.pem", "hello");
    folder.write("f-damaged.pem", &p256().replacen("MI", "!!", 1));
    folder.write("g-two.pem", &(p256() + &p256()));
    folder.write("h-long.pem", &"x".repeat(70_000));
    fs::create_dir(folder.path().join("i-folder.pem")).unwrap();
    folder.write("j-empty.pem", "");

    assert_eq!(
        told(&folder, ""),
        format!("\
error: `DIR/b-locked.pem` is encrypted; write it without a passphrase (`openssl pkey -in … -out …`)
error: `DIR/c-old.pem` is encrypted; write it without a passphrase (`openssl pkey -in … -out …`)
error: `DIR/d-public.pem` holds a public key; put the private one there
error: `DIR/e-text.pem` holds no private key in PEM; make one: `{MAKE} FOLDER`
error: `DIR/f-damaged.pem` holds a private key that is damaged, or neither P-256, Ed25519 nor RSA; copy the file again, or make another
error: `DIR/g-two.pem` holds 2 private keys; write each into a file of its own
error: `DIR/h-long.pem` is longer than 64 KiB, and no key is; put a private key in PEM there
error: `DIR/i-folder.pem` is no file; put a private key in PEM there, or name it otherwise
error: `DIR/j-empty.pem` holds no private key in PEM; make one: `{MAKE} FOLDER`
")
    );
}

#[test]
fn keys_of_the_wrong_kind_or_size_are_told() {
    let folder = Folder::new();
    folder.write("a.pem", &RSA);
    folder.write("b.pem", &text(on(Nid::SECP384R1).private_key_to_pem().unwrap()));
    folder.write("c.pem", &testing::pem(Algorithm::EdDsa));

    assert_eq!(
        told(&folder, ""),
        format!("\
error: `DIR/a.pem` is an RSA key, and ES256 needs a P-256 key; make one: `{MAKE} FOLDER`, or write `algorithm: RS256`
error: `DIR/b.pem` is a P-384 key, and ES256 needs a P-256 key; make one: `{MAKE} FOLDER`
error: `DIR/c.pem` is an Ed25519 key, and ES256 needs a P-256 key; make one: `{MAKE} FOLDER`, or write `algorithm: EdDSA`
")
    );

    let folder = Folder::new();
    folder.write("a.pem", &text(Rsa::generate(1024).unwrap().private_key_to_pem().unwrap()));
    assert_eq!(
        told(&folder, "algorithm: PS256"),
        "error: `DIR/a.pem` is an RSA key of 1024 bits; use 2048 to 4096 bits, or `algorithm: ES256` with a P-256 key\n"
    );
}

#[test]
fn the_same_key_in_two_files_is_told() {
    let (folder, key) = (Folder::new(), p256());
    folder.write("a.pem", &key);
    folder.write("b.pem", &key);

    assert_eq!(told(&folder, ""), "error: `DIR/b.pem` is the same key as `a.pem`; remove one of them\n");
}

#[test]
fn a_key_that_others_may_read_is_told() {
    let folder = Folder::new();
    let path = folder.write("a.pem", &p256());
    for mode in [0o640, 0o604, 0o660, 0o644, 0o602] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(
            told(&folder, ""),
            format!(
                "error: `DIR/a.pem` can be read or changed by others (mode {mode:04o}); make a new key, for this one may be known, and `chmod 600` it\n"
            )
        );
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    assert_eq!(told(&folder, ""), "");
}

#[test]
fn a_folder_that_everyone_may_write_is_told() {
    let folder = Folder::new();
    folder.write("a.pem", &p256());
    let with = |mode| {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        told(&folder, "")
    };

    assert!(with(0o777).starts_with("error: `DIR` can be written by everyone"));
    // As container platforms mount secrets.
    assert_eq!([with(0o1777), with(0o770), with(0o750)], [""; 3]);
}

#[test]
fn the_gateways_group_may_read_a_key_that_is_anothers() {
    let modes = [0o400, 0o600, 0o640, 0o660, 0o604, 0o601];
    let open = |is_own| modes.map(|mode| is_open(mode, is_own));

    assert_eq!(open(true), [false, false, true, true, true, true]);
    assert_eq!(open(false), [false, false, false, true, true, true]);
    // As systemd leaves a credential: root's, and its list of rights names the service's user.
    assert!(!is_open(0o440, false));
}

#[test]
fn root_takes_a_key_for_a_services_where_the_folder_is_too() {
    let (root, gateway, group, other) = (0, 4711, 4712, 4713);

    assert!(!is_own(root, (root, group), Some(group)));
    assert!(is_own(root, (root, group), Some(other)) && is_own(root, (root, group), None));
    assert!(is_own(root, (root, 0), Some(0)));
    assert!(is_own(gateway, (gateway, group), Some(group)));
    assert!(!is_own(gateway, (root, group), Some(group)));
}

#[test]
fn the_plugins_profile_needs_the_keys_own_certificate() {
    let other = text(Rsa::generate(2048).unwrap().private_key_to_pem().unwrap());
    let folder = Folder::new();
    let profile = "profile: kong_upstream_jwt";

    folder.write("a.pem", &RSA);
    assert!(told(&folder, profile).contains("`DIR/a.pem` holds no certificate, which profile"));

    folder.write("a.pem", &(RSA.clone() + &testing::certificate(&other)));
    assert!(told(&folder, profile).contains("holds the certificate of another key first"));

    folder.write("a.pem", &(RSA.clone() + &testing::certificate(&RSA)));
    assert_eq!(told(&folder, profile), "");
}

#[test]
fn no_problem_shows_what_is_in_a_key() {
    let (folder, key) = (Folder::new(), p256());
    folder.write("a.pem", &key.replace("-----END", "====END"));
    let secret = key.lines().nth(1).unwrap();

    assert!(!told(&folder, "").contains(&secret[..16]));
}
