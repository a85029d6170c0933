-- Several nodes of one LLM (a list of URLs, of which the first is in `url` too), how long its upstream may take, and how
-- much may be asked of it. JSON as the API has it; NULL where there is nothing to say.

ALTER TABLE llms ADD COLUMN urls TEXT;
ALTER TABLE llms ADD COLUMN timeouts TEXT;
ALTER TABLE llms ADD COLUMN limits TEXT;
