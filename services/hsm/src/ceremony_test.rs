use super::*;

fn with(identity_private: usize, identity_public: usize, mask: usize) -> Step {
    decide(Present { identity_private, identity_public, mask })
}

#[test]
fn a_fresh_token_and_a_whole_one() {
    assert_eq!(with(0, 0, 0), Step::Make);
    assert_eq!(with(1, 1, 0), Step::Keep);
    assert_eq!(with(1, 1, 1), Step::Keep);
}

#[test]
fn leftovers_are_removed_only_before_the_mask_exists() {
    for private in 0..4 {
        for public in 0..4 {
            for mask in 0..3 {
                let whole = private == 1 && public == 1;
                match with(private, public, mask) {
                    Step::Make => assert!(private + public + mask == 0),
                    Step::Remake => assert!(mask == 0 && !whole),
                    Step::Keep => assert!(mask <= 1 && whole),
                    Step::Refuse(why) => {
                        assert!(mask >= 1 && (mask > 1 || !whole));
                        assert!(why.contains("identity") || why.contains("mask"), "{why}");
                    }
                }
            }
        }
    }
}
