use expect_test::expect;

use super::*;

fn good() -> Facts {
    Facts {
        passed: true,
        until: NaiveDate::from_ymd_opt(2026, 11, 1),
        stream_confirmed: true,
        uniqueness: Some(Uniqueness::default()),
        has_plan: true,
        tax_determined: true,
        ..Facts::default()
    }
}

fn over(reason: Reason) -> Override {
    Override {
        reason: reason.as_str().to_owned(),
        by: "ada".to_owned(),
        because: "checked by hand".to_owned(),
    }
}

/// An answer that was given while these were the facts.
fn given(reason: Reason, facts: &Facts) -> Answer {
    let mut found = findings("ACME", facts).into_iter().filter(|one| one.reason == reason);
    let seen = found.next().map(|finding| finding.cases).unwrap_or_default();
    Answer { said: over(reason), seen }
}

fn numbered(name: &str, ranges: &[(u64, u64)]) -> Cases {
    Cases::default().with(name, ranges.to_vec().into())
}

/// For each reason facts that are good but for it.
fn bad(reason: Reason) -> Facts {
    let text = |text: &str| vec![text.to_owned()];
    let mut facts = good();
    match reason {
        Reason::Gap => facts.gaps = vec![Gap { epoch: 1, first: 10, last: 19 }],
        Reason::NotPassed => facts.passed = false,
        Reason::StreamUnconfirmed => {
            facts.stream_confirmed = false;
            facts.stream_doubts = numbered("gap", &[(2, 2)]);
        }
        Reason::Rejections => facts.rejections = numbered("rejection", &[(7, 7)]),
        Reason::Conflicts => facts.conflicts = numbered("conflict", &[(3, 4)]),
        Reason::Parked => facts.parked = numbered("position of epoch 1", &[(5, 5), (8, 9)]),
        Reason::Unassigned => facts.unassigned = numbered("receipt of a stretch", &[(1, 4)]),
        Reason::Unpriced => {
            facts.unpriced =
                vec![("CERT_VALID@V2 true".to_owned(), 5), ("X@V1 false".to_owned(), 6)];
        }
        Reason::EarlierPeriod => facts.earlier_period = NaiveDate::from_ymd_opt(2026, 9, 1),
        Reason::UniquenessUnproved => {
            let unproved = numbered("segment", &[(1, 2)]);
            facts.uniqueness = Some(Uniqueness { unproved, ..Uniqueness::default() });
        }
        Reason::UniquenessFailed => {
            let doubles = numbered("receipt", &[(1, 7)]);
            facts.uniqueness = Some(Uniqueness { doubles, ..Uniqueness::default() });
        }
        Reason::AuditRed => {
            facts.audit = text("usage of 2026-10-01 differs");
            facts.audit_findings = Cases::one("usage: 2026-10-01 differs");
        }
        Reason::NoPlan => facts.has_plan = false,
        Reason::BuyerIncomplete => facts.buyer_lacks = text("city"),
        Reason::IssuerIncomplete => facts.issuer_lacks = text("IBAN"),
        Reason::TaxUndetermined => facts.tax_determined = false,
        Reason::Hold => facts.holds = text("disputed"),
    }
    facts
}

#[test]
fn nothing_speaks_against_good_facts() {
    assert_eq!(findings("ACME", &good()), []);
    assert_eq!(decide(Vec::new(), &[given(Reason::Gap, &bad(Reason::Gap))]), Ok(Vec::new()));
}

#[test]
fn each_fact_gives_its_reason_alone_and_says_what_to_do() {
    let mut messages = String::new();
    for reason in Reason::ALL {
        let found = findings("ACME", &bad(reason));
        let reasons: Vec<_> = found.iter().map(|finding| finding.reason).collect();
        assert_eq!(reasons, [reason]);
        messages += &format!("{}: {}\n", reason.as_str(), found[0].message);
        assert_eq!(Reason::from_name(reason.as_str()), Some(reason));
    }
    expect![[r#"
        gap: positions were never seen: 10 to 19 of epoch 1; accept them with a reason: `prooftally gaps`
        not_passed: the engine has not yet read everything that was in the stream after the period and its grace time; wait, or see `prooftally stream info`
        stream_unconfirmed: the stream may not be the one that was read before, or commits were lost; see `prooftally stream info` and accept what it shows
        rejections: ACME has 1 open rejections; retry or dismiss them: `prooftally events rejected list`
        conflicts: ACME has 2 open conflicts; resolve them: `prooftally conflicts list`
        parked: ACME has 3 parked events; mend the cause and unpark them: `prooftally brands unpark`
        unassigned: ACME has 4 receipts on days without a plan; assign one back-dated: `prooftally assignments`, or waive them with a reason: `prooftally waive`
        unpriced: no charge of the plan takes 5 of CERT_VALID@V2 true, 6 of X@V1 false; see `prooftally plans unpriced`
        earlier_period: the period from 2026-09-01 has no document yet; periods are invoiced oldest first
        uniqueness_unproved: it is not yet proved that no receipt was counted twice; run it again when the segment is sealed
        uniqueness_failed: 7 receipts were counted twice; run `prooftally audit repair`
        audit_red: the audit has open findings: usage of 2026-10-01 differs; see `prooftally audit`
        no_plan: the brand has no plan on some day of the period; assign one: `prooftally assignments`
        buyer_incomplete: the brand's profile lacks city; complete it
        issuer_incomplete: the issuer lacks IBAN; complete it
        tax_undetermined: how the brand is taxed on the period's last day is not known; set its tax treatment
        hold: on hold: disputed; release it when that is settled
    "#]].assert_eq(&messages);
    assert_eq!(Reason::from_name("other"), None);
}

#[test]
fn without_any_fact_everything_unknown_blocks() {
    let reasons: Vec<_> = findings("ACME", &Facts::default())
        .into_iter()
        .map(|finding| finding.reason.as_str())
        .collect();
    let unknown =
        ["not_passed", "stream_unconfirmed", "uniqueness_unproved", "no_plan", "tax_undetermined"];
    assert_eq!(reasons, unknown);
}

#[test]
fn an_admin_overrides_most_reasons_and_never_these() {
    let never: Vec<_> = Reason::ALL
        .into_iter()
        .filter(|&reason| {
            let found = findings("ACME", &bad(reason));
            assert_eq!(decide(found.clone(), &[]), Err(Blocked(found.clone())));
            let gap = given(Reason::Gap, &bad(Reason::Gap));
            match decide(found.clone(), &[given(reason, &bad(reason)), gap]) {
                // Only the override that was needed is kept.
                Ok(used) => {
                    assert_eq!(used, [over(reason)]);
                    false
                }
                Err(blocked) => {
                    assert_eq!(blocked, Blocked(found));
                    true
                }
            }
        })
        .map(Reason::as_str)
        .collect();
    let expected = ["no_plan", "buyer_incomplete", "issuer_incomplete", "tax_undetermined", "hold"];
    assert_eq!(never, expected);
}

#[test]
fn an_override_has_a_name_and_an_explanation_and_is_of_one_reason() {
    let found = findings("ACME", &bad(Reason::Gap));
    for wrong in [
        Override { by: " ".to_owned(), ..over(Reason::Gap) },
        Override { because: String::new(), ..over(Reason::Gap) },
        over(Reason::Rejections),
    ] {
        let wrong = Answer { said: wrong, seen: found[0].cases.clone() };
        assert_eq!(decide(found.clone(), &[wrong]), Err(Blocked(found.clone())));
    }
    let mut facts = bad(Reason::Gap);
    facts.rejections = numbered("rejection", &[(4, 5)]);
    let gap = given(Reason::Gap, &facts);
    let blocked = decide(findings("ACME", &facts), &[gap]).unwrap_err();
    expect!["the period is not complete: rejections: ACME has 2 open rejections; retry or dismiss them: `prooftally events rejected list`"].assert_eq(&blocked.to_string());
}

/// For each reason that can be answered for: less than was seen passes, and more does not.
#[test]
fn an_override_is_for_what_was_seen_and_for_nothing_that_comes_later() {
    let gap = |first, last| Gap { epoch: 1, first, last };
    let one_more = |reason| {
        let mut facts = bad(reason);
        match reason {
            Reason::Gap => facts.gaps.push(gap(30, 30)),
            Reason::NotPassed => facts.until = NaiveDate::from_ymd_opt(2026, 11, 2),
            Reason::StreamUnconfirmed => facts.stream_doubts.add("gap", vec![(3, 3)].into()),
            Reason::Rejections => facts.rejections.add("rejection", vec![(8, 8)].into()),
            Reason::Conflicts => facts.conflicts.add("conflict", vec![(5, 5)].into()),
            Reason::Parked => facts.parked.add("position of epoch 2", vec![(5, 5)].into()),
            Reason::Unassigned => facts.unassigned = numbered("receipt of a stretch", &[(1, 5)]),
            Reason::Unpriced => facts.unpriced[0].1 += 1,
            Reason::EarlierPeriod => facts.earlier_period = NaiveDate::from_ymd_opt(2026, 8, 1),
            Reason::UniquenessUnproved => {
                let found = facts.uniqueness.as_mut().unwrap();
                found.unproved.add("segment", vec![(3, 3)].into());
            }
            Reason::UniquenessFailed => {
                facts.uniqueness.as_mut().unwrap().doubles.add("other", Numbers::up_to(1));
            }
            Reason::AuditRed => facts.audit_findings.add("tiling: a hole", Numbers::up_to(1)),
            // These nobody answers for.
            _ => return None,
        }
        Some(facts)
    };
    let mut tried = 0;
    for reason in Reason::ALL {
        let Some(more) = one_more(reason) else { continue };
        tried += 1;
        let (before, after) = (findings("ACME", &bad(reason)), findings("ACME", &more));
        let answers = [given(reason, &bad(reason))];
        assert_eq!(decide(before.clone(), &answers), Ok(vec![over(reason)]));
        assert_eq!(decide(after.clone(), &answers), Err(Blocked(after.clone())), "{reason:?}");
        // Who answers again answers for all of it, and part of that may be settled meanwhile.
        let both = [given(reason, &more), given(reason, &bad(reason))];
        assert_eq!(decide(after, &both), Ok(vec![over(reason)]));
        // Another day is another case, not more of them.
        if ![Reason::NotPassed, Reason::EarlierPeriod].contains(&reason) {
            assert_eq!(decide(before, &both[..1]), Ok(vec![over(reason)]), "{reason:?}");
        }
    }
    assert_eq!(tried, 12);
    // What was there before is not answered for by what nobody has seen.
    let nothing = Answer { said: over(Reason::Gap), seen: Cases::default() };
    assert!(decide(findings("ACME", &bad(Reason::Gap)), &[nothing]).is_err());
}
