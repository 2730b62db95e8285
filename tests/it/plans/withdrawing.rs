//! A version that no document has used can be taken back, on the record.

use super::*;

struct Plans {
    world: World,
    _folder: tempfile::TempDir,
    file: String,
}

impl Plans {
    async fn new() -> Self {
        let (world, folder, file) = migrated(FIRST).await;
        Self { world, _folder: folder, file }
    }

    fn apply(&self, unit_price: &str, from: &str) -> Output {
        std::fs::write(&self.file, FIRST.replace("0.03", unit_price)).unwrap();
        self.world.prooftally(&["plans", "apply", &self.file, "--effective-from", from])
    }

    fn withdraw(&self, version: &str) -> Output {
        let what = ["plans", "withdraw", "zkdpp-standard", "--version", version];
        self.world.prooftally(&[&what[..], &["--because", "wrong day"]].concat())
    }

    /// Number, first day and why it was withdrawn.
    fn listed(&self) -> Vec<(i64, String, Value)> {
        let listed = rows(&self.world.prooftally(&["plans", "list", "--output", "json"]));
        let rows = listed.as_array().unwrap().iter();
        rows.map(|row| {
            let from = row["effective_from"].as_str().unwrap().to_owned();
            (row["version"].as_i64().unwrap(), from, row["withdrawn_because"].clone())
        })
        .collect()
    }
}

#[track_caller]
fn done(output: &Output, says: &str) {
    assert!(output.status.success() && text(&output.stderr).contains(says), "{output:?}");
}

#[track_caller]
fn refused(output: &Output, code: i32, says: &str) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(text(&output.stderr).contains(says), "{says}: {output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_with_a_wrong_day_is_withdrawn_and_applied_again() {
    let plans = Plans::new().await;
    done(&plans.apply("0.03", "2026-03-01"), "version 1 of zkdpp-standard is in force");
    // The first day was wrong: no version could ever take effect before it.
    refused(&plans.apply("0.03", "2026-01-01"), 5, "withdraw it first");
    done(&plans.withdraw("1"), "no other is left");
    done(&plans.apply("0.03", "2026-01-01"), "version 2 of zkdpp-standard is in force");
    // The same for a later one, whose day was in the way.
    done(&plans.apply("0.05", "2027-12-01"), "version 3");
    refused(&plans.apply("0.04", "2026-12-01"), 5, "takes effect on 2027-12-01");
    refused(&plans.withdraw("2"), 5, "is not the newest one that holds, which is 3");
    done(&plans.withdraw("3"), "version 2 of 2026-01-01 is the newest again");
    refused(&plans.withdraw("3"), 5, "is not the newest one that holds, which is 2");
    refused(&plans.withdraw("4"), 4, "plan zkdpp-standard has no version 4");
    done(&plans.apply("0.04", "2026-12-01"), "version 4");

    let day = str::to_owned;
    let expected = [
        (2, day("2026-01-01"), Value::Null),
        (4, day("2026-12-01"), Value::Null),
        (1, day("2026-03-01"), json!("wrong day")),
        (3, day("2027-12-01"), json!("wrong day")),
    ];
    assert_eq!(plans.listed(), expected);
    let show = ["plans", "show", "zkdpp-standard", "--version", "3"];
    assert_eq!(text(&plans.world.prooftally(&show).stdout), FIRST.replace("0.03", "0.05"));
    for change in ["delete from plan_withdrawal", "update plan_withdrawal set because = 'x'"] {
        let answer = sqlx::query(change).execute(plans.world.pool()).await;
        assert!(answer.unwrap_err().to_string().contains("never changed"), "{change}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assignment_keeps_a_version() {
    let plans = Plans::new().await;
    let engine = plans.world.engine().await;
    plans.world.publish_raw("proofs.verified", [receipt("r-1", "acme")].into_iter()).await;
    plans.world.wait_until_metered().await;
    engine.stop().await;
    done(&plans.apply("0.03", "2026-01-01"), "version 1");
    done(&plans.apply("0.04", "2026-02-01"), "version 2");
    let create = |from: &str| {
        let what = ["assignments", "create", "--brand", "acme", "--plan", "zkdpp-standard"];
        plans.world.prooftally(&[&what[..], &["--from", from]].concat())
    };
    done(&create("2026-03-10"), "");
    done(&plans.withdraw("2"), "version 1 of 2026-01-01 is the newest again");
    refused(&plans.withdraw("1"), 5, "is its only one, and assignment 1 has it");
    let end = ["assignments", "end", "--brand", "acme", "--on", "2026-03-10", "--because", "x"];
    done(&plans.world.prooftally(&end), "");
    done(&plans.withdraw("1"), "no other is left");
    refused(&create("2026-03-10"), 5, "plan zkdpp-standard was never applied");
}

/// Whoever assigns a plan has seen its version, and waits; the version is gone when they go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_being_withdrawn_cannot_be_assigned() {
    let plans = Plans::new().await;
    let engine = plans.world.engine().await;
    plans.world.publish_raw("proofs.verified", [receipt("r-1", "acme")].into_iter()).await;
    plans.world.wait_until_metered().await;
    engine.stop().await;
    done(&plans.apply("0.03", "2026-01-01"), "version 1");
    let mut withdrawing = plans.world.pool().begin().await.unwrap();
    sqlx::query(
        "insert into plan_withdrawal (plan_name, version, because, made_by) \
         values ('zkdpp-standard', 1, 'wrong', 'test')",
    )
    .execute(&mut *withdrawing)
    .await
    .unwrap();
    let create = ["assignments", "create", "--brand", "acme", "--plan", "zkdpp-standard"];
    let create = [&create[..], &["--from", "2026-03-10"]].concat();
    let created = std::thread::scope(|scope| {
        let creating = scope.spawn(|| plans.world.prooftally(&create));
        let waiting = "select count(*) from pg_stat_activity where datname = current_database() \
            and wait_event_type = 'Lock' and query like 'insert into assignment %'";
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                wait_for("it waits for the version", async || {
                    let count: i64 =
                        sqlx::query_scalar(waiting).fetch_one(plans.world.pool()).await.ok()?;
                    (count > 0).then_some(())
                })
                .await;
                withdrawing.commit().await.unwrap();
            });
        });
        creating.join().unwrap()
    });
    refused(&created, 5, "no version of plan zkdpp-standard is in force on 2026-03-10");
    let listed = plans.world.prooftally(&["assignments", "list", "--output", "json"]);
    assert_eq!(rows(&listed), json!([]));
}
