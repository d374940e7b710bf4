//! Documents drawn from final invoices.
