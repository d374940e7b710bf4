//! The statements of credit.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use outbox::UnitOfWork;
use outbox::copy::{Rows, Target};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Credit, CreditError, NewCredit, Use};
use crate::ids::{AccountId, CreditId};
use crate::money::{Currency, Money};

/// The credit of an id, if it was granted before.
pub(super) async fn granted(
    tx: &mut PgConnection,
    new: &NewCredit,
) -> Result<Option<Credit>, CreditError> {
    let row = sqlx::query!(
        r#"
        -- credit: granted before
        select granted_at, account_id = $2 and currency = $3 and amount_minor = $4
            and reason = $5 as "is_same!"
        from billing.credit
        where credit_id = $1
        "#,
        Uuid::from(new.credit),
        Uuid::from(new.account),
        new.money.currency().code(),
        new.money.minor(),
        new.reason,
    )
    .fetch_optional(tx)
    .await?;
    match row {
        None => Ok(None),
        Some(row) if row.is_same => Ok(Some(Credit {
            credit_id: new.credit,
            money: new.money,
            reason: new.reason.clone(),
            granted_at: row.granted_at,
        })),
        Some(_) => Err(CreditError::IdTaken(new.credit)),
    }
}

/// The account's lock keeps a second one of the same account out; an id of another's is refused.
pub(super) async fn insert(
    tx: &mut PgConnection,
    account: AccountId,
    granted: &Credit,
    event: Uuid,
) -> Result<(), CreditError> {
    let inserted = sqlx::query!(
        "
        -- credit: grant
        insert into billing.credit
            (credit_id, account_id, currency, amount_minor, reason, granted_at, announced_by)
        values ($1, $2, $3, $4, $5, $6, $7)
        on conflict (credit_id) do nothing
        ",
        Uuid::from(granted.credit_id),
        Uuid::from(account),
        granted.money.currency().code(),
        granted.money.minor(),
        granted.reason,
        granted.granted_at,
        event,
    )
    .execute(tx)
    .await?;
    match inserted.rows_affected() {
        0 => Err(CreditError::IdTaken(granted.credit_id)),
        _ => Ok(()),
    }
}

const CREDITS: Target = Target {
    table: "billing.credit",
    columns: &[
        "credit_id",
        "account_id",
        "currency",
        "amount_minor",
        "reason",
        "granted_at",
        "announced_by",
    ],
};

/// Inserts credits of which none exists, each with the event that announces it.
pub(super) async fn copy<'a>(
    tx: &mut UnitOfWork,
    credits: impl Iterator<Item = (&'a NewCredit, Uuid)>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let mut rows = Rows::new(CREDITS);
    for (new, event) in credits {
        rows.row()
            .put(Uuid::from(new.credit))
            .put(Uuid::from(new.account))
            .put(new.money.currency().code())
            .put(new.money.minor())
            .put(&new.reason)
            .put(now)
            .put(event);
    }
    tx.copy(rows).await?;
    Ok(())
}

pub(super) async fn list(
    connection: &mut PgConnection,
    account: AccountId,
    after: Option<CreditId>,
    limit: u32,
) -> Result<Vec<Credit>, CreditError> {
    let rows = sqlx::query!(
        "
        -- credit: list
        select credit_id, currency, amount_minor, reason, granted_at
        from billing.credit
        where account_id = $1
            and ($2::uuid is null or (granted_at, credit_id) < (
                select granted_at, credit_id from billing.credit where credit_id = $2
            ))
        order by granted_at desc, credit_id desc
        limit $3
        ",
        Uuid::from(account),
        after.map(Uuid::from),
        i64::from(limit),
    )
    .fetch_all(connection)
    .await?;
    let credits = rows.into_iter().map(|row| {
        Ok(Credit {
            credit_id: row.credit_id.into(),
            money: Money::new(row.amount_minor, Currency::parse(&row.currency)?),
            reason: row.reason,
            granted_at: row.granted_at,
        })
    });
    credits.collect()
}

pub(super) async fn balances(
    tx: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<HashMap<AccountId, Money>, CreditError> {
    let ids: Vec<Uuid> = accounts.iter().map(|id| Uuid::from(*id)).collect();
    let rows = sqlx::query!(
        "
        -- credit: balances
        select account_id, account.currency, amount_minor
        from billing.balance
        join billing.account using (account_id)
        where account_id = any ($1) and book = 'customer_credit' and amount_minor > 0
            and balance.currency = account.currency
        ",
        &ids,
    )
    .fetch_all(tx)
    .await?;
    let balances = rows.into_iter().map(|row| {
        let money = Money::new(row.amount_minor, Currency::parse(&row.currency)?);
        Ok((row.account_id.into(), money))
    });
    balances.collect()
}

pub(super) async fn write_uses(
    tx: &mut PgConnection,
    uses: &[Use],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = uses.iter().map(|one| one.id).collect();
    let accounts: Vec<Uuid> = uses.iter().map(|one| one.account.into()).collect();
    let invoices: Vec<Uuid> = uses.iter().map(|one| one.invoice.into()).collect();
    let currencies: Vec<String> = uses
        .iter()
        .map(|one| one.money.currency().code().to_owned())
        .collect();
    let amounts: Vec<i64> = uses.iter().map(|one| one.money.minor()).collect();
    sqlx::query!(
        "
        -- credit: write uses
        insert into billing.credit_use
            (credit_use_id, account_id, invoice_id, currency, amount_minor, used_at)
        select credit_use_id, account_id, invoice_id, currency, amount_minor, $6
        from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::bigint[])
            as used (credit_use_id, account_id, invoice_id, currency, amount_minor)
        ",
        &ids,
        &accounts,
        &invoices,
        &currencies,
        &amounts,
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}
