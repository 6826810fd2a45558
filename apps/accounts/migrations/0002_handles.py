"""One uniqueness for the names of users and groups, and names that never change: kept by triggers, so that no path goes around."""

from django.db import migrations

FORWARDS = """
CREATE FUNCTION accounts_keep_handle() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    bearer text := TG_ARGV[0];
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO accounts_handle (name) VALUES (lower(to_jsonb(NEW) ->> bearer));
    ELSIF TG_OP = 'DELETE' THEN
        DELETE FROM accounts_handle WHERE name = lower(to_jsonb(OLD) ->> bearer);
    ELSIF to_jsonb(NEW) ->> bearer IS DISTINCT FROM to_jsonb(OLD) ->> bearer THEN
        RAISE EXCEPTION 'names never change' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER user_handle AFTER INSERT OR UPDATE OR DELETE ON accounts_user
    FOR EACH ROW EXECUTE FUNCTION accounts_keep_handle('username');
CREATE TRIGGER group_handle AFTER INSERT OR UPDATE OR DELETE ON accounts_group
    FOR EACH ROW EXECUTE FUNCTION accounts_keep_handle('name');
"""

BACKWARDS = """
DROP TRIGGER user_handle ON accounts_user;
DROP TRIGGER group_handle ON accounts_group;
DROP FUNCTION accounts_keep_handle();
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]
    operations = [migrations.RunSQL(FORWARDS, BACKWARDS)]
