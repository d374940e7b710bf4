//! The HTTP interface: what clients and people may ask of billing, and the few things they may
//! tell.
//!
//! | route                              | answer                                                |
//! |------------------------------------|-------------------------------------------------------|
//! | `GET /healthz`                     | whether the database answers, and what is still to do |
//! | `POST /v1/accounts`                | creates an account                                    |
//! | `GET /v1/accounts`                 | accounts in the order of their ids                    |
//! | `GET /v1/accounts/{id}`            | one, by its id or its external id                     |
//! | `PATCH /v1/accounts/{id}`          | says where its notices go: `email`, or null           |
//! | `GET …/{id}/history`               | who did what to it, when and why                      |
//! | `GET …/{id}/payment-methods`       | its cards, newest first, removed ones too             |
//! | `POST …/{id}/payment-methods`      | adds a card by the token that a gateway gave out      |
//! | `DELETE …/payment-methods/{id}`    | removes it: it is never charged again                 |
//! | `GET …/{id}/credits`               | what it was given in advance, newest first            |
//! | `POST …/{id}/credits`              | gives it credit, once per `credit_id`                 |
//! | `GET …/{id}/payments`              | its payments and attempts, newest first               |
//! | `POST …/{id}/payments`             | records money by hand, once per `payment_id`           |
//! | `POST /v1/payments/{id}/refunds`   | gives money back of a payment, once per `refund_id`   |
//! | `GET …/{id}/notices`               | what it was told, and what it was spared, and why     |
//! | `GET /v1/invoices`                 | final invoices; `month` and `account` choose          |
//! | `GET /v1/invoices/{id}`            | one with its lines and payments, by number or id      |
//! | `GET /v1/invoices/{id}/document`   | its page, as HTML                                     |
//! | `POST /v1/gateways/{n}/webhooks`   | takes what a gateway tells, if it proves who it is    |
//! | `GET /v1/reports/{month}`          | the figures of a month's collection                   |
//!
//! A request is never cancelled: once it is admitted it runs to its end, though its client leaves.
//! Lists take `limit` (at most 200) and `after`, which is the `next` of the page before. Amounts
//! and quantities are decimal strings. Who chooses the id of what it creates may ask again until
//! it is answered: the same words are answered as before, other words with a conflict. What goes
//! wrong is told as a problem of RFC 9457.
//!
//! There are no API keys yet: who acts is what the header `X-Actor` says, and the default address
//! can be reached from this machine only. Gateways alone prove who they are, by signatures.

mod accounts;
mod admission;
mod amount;
mod body;
mod caller;
mod credits;
mod health;
mod history;
mod instant;
mod invoices;
mod notices;
mod page;
mod payment_methods;
mod payments;
mod problem;
mod refunds;
mod reports;
mod routes;
mod serve;
mod state;
mod webhooks;

pub use serve::serve;
