//! The ledger's statements.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use outbox::UnitOfWork;
use outbox::copy::{Rows, Target};
use uuid::Uuid;

use super::{Account, NewTransfer};

const TRANSFERS: Target = Target {
    table: "billing.transfer",
    columns: &[
        "source_kind",
        "source_id",
        "debit",
        "credit",
        "account_id",
        "currency",
        "amount_minor",
        "at",
    ],
};

pub(super) async fn post(
    tx: &mut UnitOfWork,
    transfers: &[NewTransfer],
    at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let mut rows = Rows::new(TRANSFERS);
    for transfer in transfers {
        rows.row()
            .put(transfer.source_kind)
            .put(transfer.source_id)
            .put(transfer.debit.name())
            .put(transfer.credit.name())
            .put(transfer.account.map(Uuid::from))
            .put(transfer.money.currency().code())
            .put(transfer.money.minor())
            .put(at);
    }
    tx.copy(rows).await?;
    Ok(())
}

pub(super) async fn move_balances(
    tx: &mut UnitOfWork,
    moves: &BTreeMap<Account, i64>,
) -> Result<(), sqlx::Error> {
    let (mut accounts, mut books, mut currencies) = (Vec::new(), Vec::new(), Vec::new());
    for (account, book, currency) in moves.keys() {
        accounts.push(Uuid::from(*account));
        books.push(book.name());
        currencies.push(currency.code());
    }
    let minors: Vec<i64> = moves.values().copied().collect();
    if minors.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "
        -- ledger: move balances
        insert into billing.balance (account_id, book, currency, amount_minor)
        select account_id, book, currency, amount_minor
        from unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[])
            with ordinality as moved (account_id, book, currency, amount_minor, nth)
        order by nth
        on conflict (account_id, book, currency)
            do update set amount_minor = balance.amount_minor + excluded.amount_minor
        ",
        &accounts,
        &books as &[&str],
        &currencies as &[&str],
        &minors,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
