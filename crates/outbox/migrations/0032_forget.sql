-- A stream that no relay fills any more is forgotten on an operator's order, with a reason.
alter table outbox.operation drop constraint operation_verb_known;
alter table outbox.operation add constraint operation_verb_known check (verb in (
    'pause', 'resume', 'redrive', 'discard', 'replay', 'cancel', 'rebase', 'reshard', 'forget'
));
