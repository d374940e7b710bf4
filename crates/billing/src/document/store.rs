//! The statements of documents.

use std::collections::{HashMap, HashSet};

use outbox::UnitOfWork;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{FrozenInvoice, FrozenLine, Intent, LoadError, Written};
use crate::ids::InvoiceId;
use crate::money::{Currency, Money};

/// The headers, without their lines yet.
pub(super) async fn invoices(
    conn: &mut PgConnection,
    ids: &[InvoiceId],
) -> Result<HashMap<InvoiceId, FrozenInvoice>, LoadError> {
    let rows = sqlx::query!(
        "
        -- document: frozen invoices
        select invoice_id, series, number, external_id, customer_name, zone, month,
            start_at, end_at, as_of, currency, subtotal_minor, tax_minor, total_minor, credit_minor,
            lines
        from billing.invoice
        where invoice_id = any ($1)
        ",
        &uuids(ids),
    )
    .fetch_all(conn)
    .await?;
    let mut invoices = HashMap::with_capacity(rows.len());
    for row in rows {
        let invoice_id = InvoiceId::from(row.invoice_id);
        let currency = Currency::parse(&row.currency)
            .map_err(|source| LoadError::Currency { invoice_id, source })?;
        let Ok(zone) = row.zone.parse() else {
            return Err(LoadError::Zone {
                invoice_id,
                zone: row.zone,
            });
        };
        let lines = usize::try_from(row.lines).map_err(|_| LoadError::Lines(invoice_id))?;
        let invoice = FrozenInvoice {
            invoice_id,
            series: row.series,
            number: row.number,
            external_id: row.external_id,
            customer_name: row.customer_name,
            zone,
            month: row.month,
            start_at: row.start_at,
            end_at: row.end_at,
            as_of: row.as_of,
            currency,
            subtotal: Money::new(row.subtotal_minor, currency),
            tax: Money::new(row.tax_minor, currency),
            total: Money::new(row.total_minor, currency),
            credit: Money::new(row.credit_minor, currency),
            lines: Vec::with_capacity(lines),
        };
        invoices.insert(invoice_id, invoice);
    }
    Ok(invoices)
}

/// Adds the lines, and refuses an invoice that does not have all of them.
pub(super) async fn fill_lines(
    conn: &mut PgConnection,
    invoices: &mut HashMap<InvoiceId, FrozenInvoice>,
) -> Result<(), LoadError> {
    let ids: Vec<InvoiceId> = invoices.keys().copied().collect();
    let rows = sqlx::query!(
        "
        -- document: frozen lines
        select line.invoice_id, description, price_code, unit, unit_price, usage_month, quantity,
            exact, amount_minor
        from unnest($1::uuid[]) as wanted (invoice_id)
        -- Each by its key: without statistics any invoice seems to have thousands of lines, and
        -- all lines would be read for the sake of a few hundred.
        cross join lateral (
            select * from billing.line where line.invoice_id = wanted.invoice_id offset 0
        ) as line
        order by line.invoice_id, line_no
        ",
        &uuids(&ids),
    )
    .fetch_all(conn)
    .await?;
    for row in rows {
        let Some(invoice) = invoices.get_mut(&row.invoice_id.into()) else {
            continue;
        };
        invoice.lines.push(FrozenLine {
            description: row.description,
            price_code: row.price_code,
            unit: row.unit,
            unit_price: row.unit_price,
            usage_month: row.usage_month,
            quantity: row.quantity,
            exact: row.exact,
            amount: Money::new(row.amount_minor, invoice.currency),
        });
    }
    Ok(())
}

/// Intends the files of invoices at paths below the documents' folder, and says which were intended
/// before.
///
/// # Errors
/// The database's.
pub async fn intend(
    tx: &mut UnitOfWork,
    paths: &[(InvoiceId, String)],
) -> Result<Vec<Intent>, sqlx::Error> {
    let (ids, paths): (Vec<Uuid>, Vec<String>) = paths
        .iter()
        .map(|(id, path)| (Uuid::from(*id), path.clone()))
        .unzip();
    let new = sqlx::query_scalar!(
        "
        -- document: intend
        insert into billing.document (invoice_id, state, path)
        select invoice_id, 'intended', path
        from unnest($1::uuid[], $2::text[]) as wanted (invoice_id, path)
        order by invoice_id
        on conflict (invoice_id) do nothing
        returning invoice_id
        ",
        &ids,
        &paths,
    )
    .fetch_all(&mut **tx)
    .await?;
    let known = intended_before(tx, &ids, &new).await?;
    let stand = ids.into_iter().zip(paths).map(|(id, path)| {
        let before = known.get(&id);
        Intent {
            invoice_id: id.into(),
            is_again: before.is_some(),
            path: before.cloned().unwrap_or(path),
        }
    });
    Ok(stand.collect())
}

/// The paths of those that are not new.
async fn intended_before(
    tx: &mut UnitOfWork,
    ids: &[Uuid],
    new: &[Uuid],
) -> Result<HashMap<Uuid, String>, sqlx::Error> {
    if new.len() == ids.len() {
        return Ok(HashMap::new());
    }
    let new: HashSet<&Uuid> = new.iter().collect();
    let old: Vec<Uuid> = (ids.iter().filter(|id| !new.contains(id)))
        .copied()
        .collect();
    let rows = sqlx::query!(
        "
        -- document: what was intended before
        select invoice_id, path
        from billing.document
        where invoice_id = any ($1)
        ",
        &old,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.invoice_id, row.path))
        .collect())
}

/// Notes that files were written, and says how many were not noted before.
///
/// # Errors
/// The database's.
pub async fn written(tx: &mut UnitOfWork, written: &[Written]) -> Result<u64, sqlx::Error> {
    let ids: Vec<Uuid> = written.iter().map(|file| file.invoice_id.into()).collect();
    let digests: Vec<Vec<u8>> = written.iter().map(|file| file.sha256.to_vec()).collect();
    let sizes: Vec<i64> = written.iter().map(|file| file.bytes).collect();
    let noted = sqlx::query!(
        "
        -- document: note as written
        update billing.document
        set state = 'written', sha256 = file.sha256, bytes = file.bytes,
            written_at = clock_timestamp()
        from unnest($1::uuid[], $2::bytea[], $3::bigint[]) as file (invoice_id, sha256, bytes)
        where document.invoice_id = file.invoice_id
            and state = 'intended'
        ",
        &ids,
        &digests,
        &sizes,
    )
    .execute(&mut **tx)
    .await?;
    Ok(noted.rows_affected())
}

fn uuids(ids: &[InvoiceId]) -> Vec<Uuid> {
    ids.iter().map(|id| Uuid::from(*id)).collect()
}
