//! The verifiers of `conf/examples/verify`, with real tokens: what upstream teams copy
//! accepts what this gateway signs, and nothing else.
//!
//! Their libraries share no code with ours: PyJWT, panva's jose, Go's and Rust's own
//! cryptography. Python and Node run in `make test`; Go and Rust have to be built, and
//! run in `make test-verifiers`. What is not installed fails, and says what is missing.

mod bound;
mod fields;
mod forged;
mod keys;
mod language;
mod once;
mod proved;
mod starting;
mod thumbprints;
mod tokens;
mod upstream;

macro_rules! in_every_language {
    ($($subject:ident :: $case:ident,)*) => {
        mod python { $(#[tokio::test] async fn $case() {
            super::$subject::$case(super::language::PYTHON).await
        })* }
        mod node { $(#[tokio::test] async fn $case() {
            super::$subject::$case(super::language::NODE).await
        })* }
        mod go { $(#[tokio::test] #[ignore = "`make test-verifiers` builds it"] async fn $case() {
            super::$subject::$case(super::language::GO).await
        })* }
        mod rust { $(#[tokio::test] #[ignore = "`make test-verifiers` builds it"] async fn $case() {
            super::$subject::$case(super::language::RUST).await
        })* }
    };
}

in_every_language! {
    bound::a_bound_token_is_good_for_exactly_its_request,
    bound::a_token_that_is_bound_to_less_than_is_asked_for_is_refused,
    bound::a_body_that_nobody_knew_is_enough_only_where_nobody_asks_for_it,
    bound::a_body_that_is_too_long_to_be_hashed_is_refused,
    fields::exactly_one_field_carries_the_token,
    fields::a_bearer_token_needs_its_word,
    forged::each_algorithm_of_ours_is_accepted,
    forged::a_token_of_a_key_for_an_algorithm_that_is_not_allowed_is_refused,
    forged::what_is_wrong_with_a_token_refuses_it,
    forged::a_key_verifies_with_its_own_algorithm_alone,
    forged::clocks_may_differ_by_five_seconds,
    keys::a_key_that_is_new_is_accepted_and_one_that_is_gone_is_not,
    keys::made_up_names_make_it_fetch_the_key_set_once,
    keys::what_it_cannot_use_in_a_key_set_spoils_no_other_key,
    once::a_token_counts_once_where_that_is_asked_for,
    proved::prove_finds_no_hole,
    proved::prove_finds_no_hole_with_the_plugins_claims,
    starting::a_setting_that_is_wrong_starts_nothing,
}
