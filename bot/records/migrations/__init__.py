"""How the schema came to be, step by step; run by `bot.records.schema.migrate`."""
