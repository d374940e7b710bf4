//! The HTTP interface: what clients and people may ask of billing, and the few things they may
//! tell.
//!
//! | route                              | answer                                                |
//! |------------------------------------|-------------------------------------------------------|
//! | `GET /healthz`                     | whether the database answers, and what is still to do |
//! | `POST /v1/accounts`                | creates an account                                    |
//! | `GET /v1/accounts`                 | accounts in the order of their ids                    |
//! | `GET /v1/accounts/{id}`            | one, by its id or its external id                     |
//! | `GET /v1/accounts/{id}/history`    | who did what to it, when and why                      |
//! | `GET /v1/invoices`                 | final invoices; `month` and `account` choose          |
//! | `GET /v1/invoices/{id}`            | one with its lines, by its number or its id           |
//! | `GET /v1/invoices/{id}/document`   | its page, as HTML                                     |
//! | `GET /v1/reports/{month}`          | the figures of a month's collection                   |
//!
//! A request is never cancelled: once it is admitted it runs to its end, though its client leaves.
//! Lists take `limit` (at most 200) and `after`, which is the `next` of the page before. Amounts
//! and quantities are decimal strings. What goes wrong is told as a problem of RFC 9457.
//!
//! There are no API keys yet: who acts is what the header `X-Actor` says, and the default address
//! can be reached from this machine only.

mod accounts;
mod admission;
mod body;
mod caller;
mod health;
mod history;
mod invoices;
mod page;
mod problem;
mod reports;
mod routes;
mod serve;

pub use serve::serve;
