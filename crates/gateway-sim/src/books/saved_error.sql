-- Errors that are the answer to their key for ever, of requests that charged nothing.
create table saved_error (
    key     text    primary key,
    status  integer not null,
    body    blob    not null
) strict;
