//! Enums whose members are label values.

/// Makes an enum with a word for each member and the list of them all, so that
/// a member cannot be added without its series.
macro_rules! closed_set {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$member_doc:meta])* $member:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum $name {
            $($(#[$member_doc])* $member,)+
        }

        impl $name {
            /// Every member, in the order of their numbers.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$member),+];

            /// The member's word in metrics and logs.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$member => $word,)+
                }
            }
        }
    };
}

pub(super) use closed_set;
