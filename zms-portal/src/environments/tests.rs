use super::*;
use crate::access::User;
use sqlx::Row;

fn user(role: Role) -> User {
    User { id: "U".to_owned(), name: format!("a-{role}"), roles: vec![role], language: String::new() }
}

fn new(name: &str) -> NewEnvironment {
    NewEnvironment { name: name.to_owned(), title: String::new(), colour: "green".to_owned(), protected: false }
}

fn fields(result: Result<Environment>) -> Vec<String> {
    match result {
        Err(Error::Invalid(problems)) => problems.into_iter().map(|problem| problem.field).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_environment_is_made_found_and_changed() {
    let (_folder, db) = Db::temporary().await;
    let operator = user(Role::Operator);
    let actor = Actor { user: &operator, address: "192.0.2.1" };
    let made = create(&db, actor, new("dev"), 1).await.unwrap();
    assert_eq!(made.title, "dev", "a title is not demanded");
    create(&db, actor, NewEnvironment { title: "Room A".to_owned(), protected: true, ..new("a") }, 2).await.unwrap();
    assert_eq!(list(&db).await.unwrap().iter().map(|environment| environment.name.as_str()).collect::<Vec<_>>(), ["a", "dev"]);
    let wanted =
        EnvironmentChange { title: Some(" Development ".to_owned()), protected: Some(true), ..EnvironmentChange::default() };
    change(&db, actor, "dev", wanted, 3).await.unwrap();
    let found = find_by_name(&db, "dev").await.unwrap();
    assert_eq!((found.title.as_str(), found.colour.as_str(), found.protected), ("Development", "green", true));
    assert!(matches!(find_by_name(&db, "prod").await, Err(Error::NotFound)));
    assert!(matches!(change(&db, actor, "prod", EnvironmentChange::default(), 4).await, Err(Error::NotFound)));
}

#[tokio::test]
async fn what_is_wrong_is_said_at_its_field() {
    let (_folder, db) = Db::temporary().await;
    let operator = user(Role::Operator);
    let actor = Actor { user: &operator, address: "192.0.2.1" };
    for name in ["", "Dev", "1a", "-a", "a b", "a/b", "new", "all", "ä", &"x".repeat(33)] {
        assert_eq!(fields(create(&db, actor, new(name), 1).await), ["name"], "{name}");
    }
    let wrong = NewEnvironment { name: "dev".to_owned(), title: "x".repeat(61), colour: "pink".to_owned(), protected: false };
    assert_eq!(fields(create(&db, actor, wrong, 1).await), ["title", "colour"]);
    create(&db, actor, new("dev"), 1).await.unwrap();
    assert_eq!(fields(create(&db, actor, new("dev"), 2).await), ["name"], "a name is taken once");
    let empty = EnvironmentChange { title: Some(" ".to_owned()), ..EnvironmentChange::default() };
    assert_eq!(fields(change(&db, actor, "dev", empty, 3).await), ["title"]);
}

#[tokio::test]
async fn only_operators_and_administrators_make_environments_and_a_try_is_audited() {
    let (_folder, db) = Db::temporary().await;
    for role in Role::ALL {
        let user = user(role);
        let made = create(&db, Actor { user: &user, address: "192.0.2.1" }, new(role.as_str()), 1).await;
        let may = matches!(role, Role::Operator | Role::Administrator);
        assert_eq!(made.is_ok(), may, "{role}: {made:?}");
        let row =
            sqlx::query("select result, target from audit where who = $1").bind(user.name).fetch_one(db.read()).await.unwrap();
        let (result, target): (String, String) = (row.get("result"), row.get("target"));
        assert_eq!((result.as_str(), target), (if may { "done" } else { "denied" }, format!("environment/{role}")));
    }
    assert_eq!(list(&db).await.unwrap().len(), 2);
}
