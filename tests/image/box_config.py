"""`tollgate-config`: what it fetches, and how the gateway takes it, with the faults of both."""

import json
import os
import resource
import signal
import socket

from boxed import GOOD, RESTARTS, ROOT, SERVES_ON, STARTS, BoxTest
from cloud import KEY, SECRET, TOKEN, Cloud

BAD = GOOD.replace("routes:", "rotes:")


class Config(BoxTest):
    """`tollgate-config`."""

    def setUp(self) -> None:
        super().setUp()
        self.put("first")
        self.box.write("config: ssm:/tollgate/prod/config\n")

    def put(self, body: str, text: str = GOOD) -> None:
        value = text % body if "%s" in text else text
        self.cloud.client("ssm").put_parameter(Name="/tollgate/prod/config", Value=value, Type="SecureString", Overwrite=True)

    def serve(self) -> None:
        """A box that serves `first`."""
        self.holds(self.box.run("config"))
        self.box.gateway("active")
        self.put("second")

    def test_the_first_configuration_is_checked_put_in_place_and_started(self) -> None:
        self.holds(self.box.run("config"))

        self.assertIn("first", self.box.current())
        self.assertEqual(self.box.calls(), STARTS)
        self.assertEqual(os.readlink(self.box.run_folder / "current"), "generations/1")
        for folder in ("generations", "current"):
            self.assertEqual((self.box.run_folder / folder).stat().st_mode & 0o777, 0o750, folder)
        self.assertEqual((self.box.run_folder / "current/tollgate.yaml").stat().st_mode & 0o777, 0o640)

    def test_it_comes_from_every_kind_of_place(self) -> None:
        secrets, s3 = self.cloud.client("secretsmanager"), self.cloud.client("s3")
        whole = secrets.create_secret(Name="tollgate/prod/redis", SecretString="hunter2")["ARN"]
        secrets.create_secret(Name="tollgate/prod/jwt", SecretString=json.dumps({"a": "KEY A", "b": "KEY B"}))
        secrets.create_secret(Name="tollgate/prod/raw", SecretBinary=b"\x00\xff\n")
        s3.create_bucket(Bucket="acme.config")
        s3.put_object(Bucket="acme.config", Key="prod/a team's+file é.yaml", Body=b"routes: []\n")
        (self.folder / "local.txt").write_text("here")
        self.box.write(f"""
config: ssm:/tollgate/prod/config
files:
  redis-password: "secretsmanager:{whole}"
  jwt/a.key: secretsmanager:tollgate/prod/jwt#a
  raw: secretsmanager:tollgate/prod/raw
  conf.d/team.yaml: "s3://acme.config/prod/a team's+file é.yaml"
  local: file:{self.folder}/local.txt
""")

        self.holds(self.box.run("config"))

        current = self.box.run_folder / "current"
        found = {str(path.relative_to(current)): path.read_bytes() for path in current.rglob("*") if path.is_file()}
        found.pop("tollgate.yaml")
        self.assertEqual(found, {"redis-password": b"hunter2", "jwt/a.key": b"KEY A", "raw": b"\x00\xff\n",
                                 "conf.d/team.yaml": b"routes: []\n", "local": b"here"})

    def test_nothing_new_does_nothing(self) -> None:
        self.holds(self.box.run("config"))
        self.box.gateway("active")

        self.holds(self.box.run("config"))

        self.assertEqual(self.box.calls(), [])
        self.assertEqual(os.readlink(self.box.run_folder / "current"), "generations/1")

    def test_a_change_is_reloaded_and_what_stays_keeps_its_age(self) -> None:
        self.cloud.client("secretsmanager").create_secret(Name="key", SecretString="KEY")
        self.box.write("config: ssm:/tollgate/prod/config\nfiles: { jwt/a.key: secretsmanager:key }\n")
        self.serve()
        key = self.box.run_folder / "current/jwt/a.key"
        os.utime(key, (1000, 1000))

        self.holds(self.box.run("config"))

        self.assertEqual(self.box.calls(), ["tollgate reload"])
        self.assertIn("second", self.box.current())
        self.assertEqual(key.stat().st_mtime, 1000)

    def test_a_secret_that_rotates_is_a_change(self) -> None:
        secrets = self.cloud.client("secretsmanager")
        secrets.create_secret(Name="key", SecretString="old")
        self.box.write("config: ssm:/tollgate/prod/config\nfiles: { key: secretsmanager:key }\n")
        self.holds(self.box.run("config"))
        self.box.gateway("active")
        secrets.put_secret_value(SecretId="key", SecretString="new")

        self.holds(self.box.run("config"))

        self.assertEqual(self.box.current("key"), "new")
        self.assertEqual(self.box.calls(), ["tollgate reload"])

    def test_two_keys_of_a_secret_are_of_one_version_however_it_is_called(self) -> None:
        secrets = self.cloud.client("secretsmanager")
        arn = secrets.create_secret(Name="db", SecretString='{"user": "u1", "password": "p1", "host": "h1"}')["ARN"]
        self.box.write(f"""
config: ssm:/tollgate/prod/config
files: {{ user: secretsmanager:db#user, password: secretsmanager:db#password, host: "secretsmanager:{arn}#host" }}
""")
        self.cloud.heard = Rotating(self.cloud, lambda: secrets.put_secret_value(
            SecretId="db", SecretString='{"user": "u2", "password": "p2", "host": "h2"}'))

        self.holds(self.box.run("config"))

        self.assertEqual([self.box.current(name) for name in ("user", "password", "host")], ["u1", "p1", "h1"])

    def test_a_parameter_and_an_object_are_asked_for_once(self) -> None:
        s3 = self.cloud.client("s3")
        s3.create_bucket(Bucket="acme")
        s3.put_object(Bucket="acme", Key="a", Body=b"a")
        self.cloud.client("ssm").put_parameter(Name="p", Value="p", Type="String")
        self.box.write("config: ssm:/tollgate/prod/config\nfiles: { a: 's3://acme/a', b: 's3://acme/a', c: 'ssm:p', d: 'ssm:p' }\n")
        self.cloud.heard.clear()

        self.holds(self.box.run("config"))

        self.assertEqual([action for _, action, *_ in self.cloud.heard], ["GetParameter", "GET /acme/a", "GetParameter"])
        self.assertEqual([self.box.current(name) for name in "abcd"], ["a", "a", "p", "p"])

    def test_a_binary_secret_has_keys_too(self) -> None:
        secrets = self.cloud.client("secretsmanager")
        secrets.create_secret(Name="binary", SecretBinary=b'{"a": "KEY A"}')
        secrets.create_secret(Name="raw", SecretBinary=b"\xff\x00")
        self.box.write("config: ssm:/tollgate/prod/config\nfiles: { a: secretsmanager:binary#a }\n")
        self.holds(self.box.run("config"))
        self.assertEqual(self.box.current("a"), "KEY A")
        self.box.write("config: ssm:/tollgate/prod/config\nfiles: { a: secretsmanager:raw#a }\n")
        self.refused(self.box.run("config"), "secretsmanager:raw#a: the secret is no JSON object with `a`")

    def test_an_object_in_another_region_is_asked_for_there(self) -> None:
        self.cloud.client("s3").create_bucket(Bucket="acme")
        self.cloud.client("s3").put_object(Bucket="acme", Key="what?region=", Body=b"x")
        self.box.write("config: ssm:/tollgate/prod/config\nfiles: { x: 's3://acme/what?region=?region=eu-west-1', y: 's3://acme/what?region=' }\n")
        self.holds(self.box.run("config"))
        self.assertEqual([region for service, _, region, _ in self.cloud.heard if service == "s3"][-2:], ["eu-west-1", "us-east-1"])

        self.cloud.breaks("s3", "elsewhere")
        self.refused(self.box.run("config"), "s3:acme/what?region=?region=eu-west-1: s3:GetObject in eu-west-1 is refused: PermanentRedirect",
                     "the bucket is in another region: write it behind the address, as s3://acme/what?region=?region=")

    def test_a_bad_configuration_at_first_boot_starts_nothing_and_says_why(self) -> None:
        self.put("", BAD)

        done = self.box.run("config")

        self.refused(done, "ssm:/tollgate/prod/config and its files are refused", "tollgate.yaml:5", "rotes")
        self.assertIsNone(self.box.current())
        self.assertEqual(self.box.calls(), [])

    def test_without_one_from_before_nothing_is_said_to_stay(self) -> None:
        self.put("", BAD)
        self.refused(self.box.run("config"), "there is none before it, so that nothing serves")
        self.box.write("config: s3:/x")
        for done in (self.box.run("config"), self.box.run("config")):
            self.assertNotIn("what was good", done.stderr)

    def test_a_bad_configuration_later_leaves_the_last_good(self) -> None:
        self.serve()
        self.put("", BAD)

        self.refused(self.box.run("config"), "what was good stays", "rotes", code=SERVES_ON)

        self.assertIn("first", self.box.current())
        self.assertEqual(self.box.calls(), [])

    def test_what_the_gateway_refuses_does_not_stay(self) -> None:
        self.serve()
        self.box.gateway("active", 78, "error: a limit of the process\n")

        self.refused(self.box.run("config"), "the gateway refuses it and goes on with what it had", "a limit of the process", code=SERVES_ON)

        self.assertIn("first", self.box.current())
        self.box.gateway("active")
        self.holds(self.box.run("config"))
        self.assertIn("second", self.box.current())

    def test_a_run_that_is_killed_before_the_gateway_refuses_loses_nothing(self) -> None:
        self.serve()
        tollgate = (self.box.bin / "tollgate").read_text()
        self.box.program("tollgate", tollgate.replace('echo "tollgate', '[ "$1" = reload ] && kill -9 $PPID\necho "tollgate'))
        self.assertEqual(self.box.run("config").returncode, -signal.SIGKILL)
        self.assertIn("second", self.box.current())
        self.box.program("tollgate", tollgate)
        self.box.gateway("active", 78, "error: a limit of the process\n")

        for nth in range(4):
            self.put(f"bad {nth}")
            self.refused(self.box.run("config"), "the gateway refuses it", code=SERVES_ON)
            self.assertIn("first", self.box.current())

        self.assertEqual(os.readlink(self.box.run_folder / "current"), "generations/1")

    def test_a_run_after_one_that_was_killed_goes_back_before_it_fetches(self) -> None:
        self.serve()
        tollgate = (self.box.bin / "tollgate").read_text()
        self.box.program("tollgate", tollgate.replace('echo "tollgate', '[ "$1" = reload ] && kill -9 $PPID\necho "tollgate'))
        self.box.run("config")
        self.box.program("tollgate", tollgate)
        self.cloud.breaks("ssm", "denied")

        self.refused(self.box.run("config"), "is not authorized", code=SERVES_ON)

        self.assertIn("first", self.box.current())
        self.cloud.heals()
        self.put("first")
        self.holds(self.box.run("config"))
        self.assertEqual(self.box.calls(), ["tollgate reload"], "the gateway may have taken the other")

    def test_one_that_systemd_ends_goes_back_and_says_so(self) -> None:
        self.serve()
        self.box.program("tollgate", (self.box.bin / "tollgate").read_text().replace(
            'echo "tollgate', '[ "$1" = reload ] && kill $PPID && sleep 30\necho "tollgate'))

        self.refused(self.box.run("config"), "ended by a signal before it was done", code=SERVES_ON)

        self.assertIn("first", self.box.current())

    def test_a_failure_is_tried_again_at_once_only_where_nothing_serves(self) -> None:
        self.serve()
        self.put("", BAD)
        for state, code in (("active", SERVES_ON), ("reloading", SERVES_ON), ("failed", 1), ("inactive", 1)):
            with self.subTest(state):
                self.box.gateway(state)
                self.refused(self.box.run("config"), "what was good stays", code=code)
        (self.box.run_folder / "current").unlink()
        self.refused(self.box.run("config"), "are refused", code=1)
        self.assertIn("first", self.box.current(), "it is what the gateway took last")
        (self.box.run_folder / "current").unlink()
        (self.box.run_folder / "state/config.json").unlink()
        self.box.gateway("active")
        self.refused(self.box.run("config"), "are refused", code=1)

    def test_not_now_is_tried_again(self) -> None:
        self.serve()
        self.box.gateway("active", 75, "another reload is under way\n")

        self.refused(self.box.run("config"), "cannot reload now", code=SERVES_ON)

        self.assertIn("first", self.box.current())

    def test_what_only_a_new_process_can_take_is_an_upgrade(self) -> None:
        self.serve()
        self.box.gateway("active", 78, "error: listeners: this changes by a restart or an upgrade alone; write it as it was\n")

        self.holds(self.box.run("config"))

        self.assertEqual(self.box.calls(), ["tollgate reload", "systemctl start tollgate-upgrade.service"])
        self.assertIn("second", self.box.current())

    def test_an_upgrade_that_fails_leaves_the_last_good(self) -> None:
        self.serve()
        self.box.gateway("active", 78, "error: this changes by a restart or an upgrade alone\n")
        (self.box.bin / "systemctl.fails").touch()

        self.refused(self.box.run("config"), "the upgrade that takes it fails", code=SERVES_ON)

        self.assertIn("first", self.box.current())

    def test_a_run_that_ended_before_the_reload_is_made_good(self) -> None:
        self.serve()
        self.holds(self.box.run("config"))
        (self.box.run_folder / "state/config.json").write_text('{"served": "1"}')

        self.holds(self.box.run("config"))

        self.assertEqual(self.box.calls(), ["tollgate reload"])

    def test_a_gateway_that_was_stopped_stays_stopped_and_one_that_failed_starts(self) -> None:
        for state, calls in (("inactive", []), ("failed", STARTS)):
            with self.subTest(state):
                self.serve()
                self.put(state)
                self.box.gateway(state)

                self.holds(self.box.run("config"))

                self.assertEqual(self.box.calls(), calls)

    def test_a_gateway_that_failed_is_told_of_at_each_run_and_started_again(self) -> None:
        self.holds(self.box.run("config"))
        self.box.gateway("failed")
        self.box.journal("time=1 level=info target=tollgate up\n" + "error: cannot listen at 0.0.0.0:8080\n" * 3 + "time=2 level=info bye\n")
        told = "the gateway has failed, it is started again with generation 1: exit-code: error: cannot listen at 0.0.0.0:8080\n"

        for _ in range(2):
            done = self.box.run("config")
            self.refused(done, told.strip())
            self.assertIn(told, done.stderr)
            self.assertEqual(self.box.calls(), STARTS)

        self.box.gateway("active")
        self.holds(self.box.run("config"))
        self.assertEqual(self.box.calls(), [])

    def test_one_that_never_came_up_with_what_is_new_is_started_with_what_it_served(self) -> None:
        self.serve()
        self.box.gateway("active")
        self.put("first")
        self.holds(self.box.run("config"))
        self.put("second")
        self.box.gateway("failed")
        self.holds(self.box.run("config"))
        self.assertIn("second", self.box.current())

        self.refused(self.box.run("config"), "the gateway has failed, it is started again with generation 1")
        self.assertIn("first", self.box.current())
        self.assertEqual(self.box.calls(), STARTS)

        self.box.gateway("active")
        self.holds(self.box.run("config"))
        self.assertEqual(self.box.calls(), ["tollgate reload"])
        self.assertIn("second", self.box.current())

    def fail_with(self, new: str, after: str) -> None:
        """The gateway is known to serve `after`, fails, and is started with what is new."""
        self.serve()
        self.put(after)
        self.holds(self.box.run("config"))
        self.put(new)
        self.box.gateway("failed")
        self.holds(self.box.run("config"))

    def test_with_two_that_do_not_come_up_each_has_its_turn(self) -> None:
        self.fail_with("second", after="first")

        found = []
        for _ in range(6):
            self.box.run("config")
            self.assertEqual(self.box.calls(), STARTS)
            found.append("second" if "second" in self.box.current() else "first")

        self.assertEqual(found, ["first", "second"] * 3)

    def test_a_gateway_that_ends_slowly_in_its_start_is_given_what_is_right(self) -> None:
        self.holds(self.box.run("config"))
        waits = {"ActiveState": "inactive", "SubState": "dead", "NRestarts": "1", "Job": "7"}
        for told in ({"SubState": "auto-restart"}, {"SubState": "start", "NRestarts": "1"}, waits):
            with self.subTest(told):
                self.box.gateway(**{"state": "activating", **told})
                self.refused(self.box.run("config"), "the gateway is not up with generation", "systemd tries on: exit-code")
                self.assertEqual(self.box.calls(), [])
                self.put(told["SubState"])

                self.holds(self.box.run("config"))

                self.assertEqual(self.box.calls(), RESTARTS)
                self.assertIn(told["SubState"], self.box.current())

    def test_one_that_ends_slowly_with_what_is_new_is_started_with_what_it_served(self) -> None:
        self.fail_with("second", after="first")
        self.box.gateway("activating", SubState="auto-restart")

        self.refused(self.box.run("config"), "is started again with generation 1")

        self.assertEqual(self.box.calls(), RESTARTS)
        self.assertIn("first", self.box.current())

    def test_one_that_was_to_stay_down_is_left_alone_though_it_failed(self) -> None:
        cut = {"Result": "timeout", "ActiveEnterTimestampMonotonic": "2"}
        for told, word in ((cut, "stopped"), ({"LoadState": "masked"}, "masked")):
            with self.subTest(word):
                self.serve()
                self.put("first")
                self.box.run("config")
                self.box.gateway("failed", **told)
                done = self.box.run("config")
                self.holds(done)
                self.assertIn(f"the gateway is {word}", done.stdout)
                self.assertEqual(self.box.calls(), [])
                self.put(f"while it is {word}")
                done = self.box.run("config")
                self.holds(done)
                self.assertIn(f"the gateway is {word} and stays so", done.stdout)
                self.assertEqual(self.box.calls(), [])
                self.put("first")
        self.box.gateway("failed", **cut)
        self.assertIn("it was stopped, and cut because it took too long to end; it stays so", self.status("failed"))

    def test_one_whose_start_took_too_long_has_failed(self) -> None:
        self.holds(self.box.run("config"))
        self.box.gateway("failed", Result="timeout")
        self.refused(self.box.run("config"), "the gateway has failed, it is started again with generation 1: timeout")

    def test_a_first_one_of_a_masked_gateway_is_kept_for_it(self) -> None:
        self.box.gateway("inactive", LoadState="masked")
        done = self.box.run("config")
        self.holds(done)
        self.assertIn("the gateway is masked and stays so", done.stdout)
        self.assertEqual(self.box.calls(), [])

    def test_what_the_gateway_says_of_an_upgrade_is_what_is_looked_for(self) -> None:
        line = next(line for line in (ROOT / "ami/rootfs/usr/lib/tollgate/box/gateway.py").read_text().splitlines() if line.startswith("NEEDS_UPGRADE"))
        self.assertIn(line.split('"')[1], (ROOT / "src/lifecycle/frozen.rs").read_text())

    def test_one_that_was_stopped_is_left_alone_and_told_of(self) -> None:
        self.holds(self.box.run("config"))
        self.box.gateway("active")
        self.assertNotIn("the gateway", self.box.run("config").stdout)
        self.box.gateway("inactive")

        done = self.box.run("config")

        self.holds(done)
        self.assertIn("generation 1; the gateway is inactive", done.stdout)
        self.assertEqual(self.box.calls(), [])

    def test_what_it_served_is_kept_through_any_number_of_changes_while_it_is_stopped(self) -> None:
        self.serve()
        self.put("first")
        self.holds(self.box.run("config"))
        self.box.gateway("inactive")
        for nth in range(5):
            self.put(f"change {nth}")
            self.holds(self.box.run("config"))
        self.box.gateway("failed")

        self.refused(self.box.run("config"), "it is started again with generation 1")

        self.assertIn("first", self.box.current())

    def test_a_gateway_that_failed_while_its_machine_ends_is_left_alone(self) -> None:
        self.serve()
        self.box.gateway("failed")
        self.cloud.metadata["autoscaling/target-lifecycle-state"] = "Terminated"
        self.put("first")
        self.refused(self.box.run("config"), "the gateway has failed and stays so, for this machine is to end")
        self.assertEqual(self.box.calls(), [])
        self.put("second")
        self.holds(self.box.run("config"))
        self.assertEqual(self.box.calls(), [])

    def test_a_gateway_that_failed_does_not_wait_for_aws(self) -> None:
        self.serve()
        self.box.gateway("failed")
        self.cloud.breaks("ssm:GetParameter", "denied", 1)
        self.put("", BAD)
        for word in ("is not authorized", "rotes"):
            self.refused(self.box.run("config"), "the gateway has failed, it is started again with generation 1", word)
            self.assertEqual(self.box.calls(), STARTS)

    def test_one_that_starts_is_not_given_another_meanwhile(self) -> None:
        self.serve()
        self.holds(self.box.run("config"))
        self.put("third")
        self.box.gateway("activating")

        self.refused(self.box.run("config"), "the gateway is just starting, tried again later")

        self.assertIn("second", self.box.current())

    def test_another_operators_socket_is_refused(self) -> None:
        self.serve()
        for other in ("/run/tollgate/other.sock", "/run/tollgate/${env:PATH}.sock"):
            self.put("", GOOD.replace("/run/tollgate/admin.sock", f'"{other}"'))
            self.refused(self.box.run("config"), f"admin.socket: `{other}`", "write `/run/tollgate/admin.sock`, or leave it out", code=SERVES_ON)
            self.assertIn("first", self.box.current())
            self.assertEqual(self.box.calls(), [])
        self.box.more["TOLLGATE_SOCKET"] = "/run/tollgate/other.sock"
        self.put("", GOOD.replace("/run/tollgate/admin.sock", "/run/tollgate/other.sock"))
        self.holds(self.box.run("config"))

    def test_an_operators_socket_that_is_left_out_is_the_one(self) -> None:
        self.put("", GOOD.replace("admin: { socket: /run/tollgate/admin.sock }\n", ""))
        self.holds(self.box.run("config"))

    def test_a_fault_that_passes_is_not_heard_of(self) -> None:
        for kind in ("down", "throttled", "half", "half_closed", "empty", "error", "expired"):
            with self.subTest(kind):
                self.cloud.breaks("ssm", kind, 1)
                self.holds(self.box.run("config"))
                self.assertEqual(self.cloud.faults["ssm"][1], 0, "the fault did not happen")

    def test_a_fault_that_stays_leaves_the_last_good_and_is_told(self) -> None:
        self.serve()
        told = {"down": "Empty reply", "throttled": "Rate exceeded", "half": "transfer closed", "half_closed": "half an answer",
                "empty": "half an answer", "error": "status 500", "slow": "timed out", "expired": "ExpiredToken",
                "denied": "is not authorized to perform: ssm:GetParameter"}
        for kind, word in told.items():
            with self.subTest(kind):
                self.cloud.breaks("ssm", kind)
                self.refused(self.box.run("config"), "ssm:GetParameter in us-east-1", word, code=SERVES_ON)
                self.assertIn("first", self.box.current())
                self.assertEqual(self.box.calls(), [])

    def test_one_secret_that_cannot_be_had_holds_up_all_of_it(self) -> None:
        self.box.write("config: ssm:/tollgate/prod/config\nfiles: { key: secretsmanager:nobody }\n")

        self.refused(self.box.run("config"), "secretsmanager:nobody", "ResourceNotFoundException")

        self.assertIsNone(self.box.current())

    def test_without_a_metadata_service_nothing_goes_and_that_is_said(self) -> None:
        for kind, word in (("down", "Empty reply"), ("slow", "timed out")):
            with self.subTest(kind):
                self.cloud.breaks("imds", kind)
                self.refused(self.box.run("config"), "the metadata service at http://", "does not answer", word)
        self.cloud.heals()
        self.cloud.metadata.pop("placement/region")
        self.refused(self.box.run("config"), "does not tell placement/region")

    def test_without_a_role_that_is_said(self) -> None:
        roles = {name: self.cloud.metadata.pop(name) for name in list(self.cloud.metadata) if name.startswith("iam/")}
        self.refused(self.box.run("config"), "the instance has no role")

        failing = {name: '{"Code": "AssumeRoleUnauthorizedAccess"}' if name != "iam/security-credentials/" else role
                   for name, role in roles.items()}
        self.cloud.metadata.update(failing)
        self.refused(self.box.run("config"), "AssumeRoleUnauthorizedAccess")

    def test_the_wrong_region_is_named(self) -> None:
        self.cloud.metadata["placement/region"] = "eu-west-1"
        self.refused(self.box.run("config"), "ssm:GetParameter in eu-west-1 is refused: ParameterNotFound")

    def test_an_arn_says_its_region_itself(self) -> None:
        arn = self.cloud.client("secretsmanager", "eu-west-1").create_secret(Name="away", SecretString="there")["ARN"]
        self.box.write(f'config: ssm:/tollgate/prod/config\nfiles: {{ away: "secretsmanager:{arn}" }}\n')

        self.holds(self.box.run("config"))

        self.assertEqual(self.box.current("away"), "there")

    def test_a_clock_an_hour_off_is_said_to_be_that(self) -> None:
        self.cloud.breaks("ssm", "clock_behind")
        self.refused(self.box.run("config"), "this machine's clock is 60 minutes behind AWS's")

    def test_a_wrong_secret_key_is_refused_here_as_by_aws(self) -> None:
        name = f"iam/security-credentials/{self.cloud.metadata['iam/security-credentials/']}"
        self.cloud.metadata[name] = self.cloud.metadata[name].replace("with", "without")
        self.refused(self.box.run("config"), "SignatureDoesNotMatch")

    def test_a_full_disk_leaves_the_last_good(self) -> None:
        self.serve()
        self.put("long", GOOD + "#" * 3000)

        done = self.box.run("config", preexec_fn=small_files)

        self.assertEqual(done.returncode, SERVES_ON)
        self.assertIn("File too large", done.stderr)
        self.assertIn("first", self.box.current())
        self.assertEqual([path.name for path in (self.box.run_folder / "generations").iterdir()], ["1"])

    def test_no_secret_is_ever_an_argument(self) -> None:
        self.cloud.client("secretsmanager").create_secret(Name="key", SecretString="hunter2")
        self.box.write("config: ssm:/tollgate/prod/config\nfiles: { key: secretsmanager:key }\n")

        self.holds(self.box.run("config"))

        arguments = (self.box.bin / "arguments").read_text()
        self.assertIn("curl", arguments)
        for secret in (KEY, SECRET, TOKEN, "hunter2"):
            self.assertNotIn(secret, arguments)

    def test_what_was_left_half_done_goes(self) -> None:
        (self.box.run_folder / "generations/.new-7").mkdir(parents=True)
        for nth in range(5):
            self.put(str(nth))
            self.holds(self.box.run("config"))
            self.box.gateway("active")

        found = sorted(path.name for path in (self.box.run_folder / "generations").iterdir())

        self.assertEqual(found, ["3", "4", "5"])

    def test_wrong_settings_say_what_to_write(self) -> None:
        told = {
            "confg: ssm:/a": "there is no key `confg`; there are config, files, certificates, endpoints",
            "config: /etc/x": "`/etc/x` is no address; write ssm:NAME, secretsmanager:NAME, s3://BUCKET/KEY or file:/PATH",
            "config: s3://bucket": f"{self.box.settings}: config: `s3://bucket` is no address",
            "config: ssm:/a\nconfig: ssm:/b": "`config` is written twice",
            "config: [": "is no YAML",
            "- config": "is no mapping of keys",
            "config: 7": "`config` has to be a text",
            "files: { ../x: 'ssm:/a' }": "files: `../x` has to be a path beside tollgate.yaml",
            "files: { tollgate.yaml: 'ssm:/a' }": "files: `tollgate.yaml` has to be a path beside tollgate.yaml",
            "certificates: [{ name: a }]": "certificates[0]: write one of acm, private_ca, file",
            "certificates: [{ name: a, acm: x }]": "certificates[0]: `acm` has to be the ARN of something of acm",
            "certificates: [{ name: a, file: x }]": "certificates[0]: `file` has to be a path that begins with /",
            "certificates: [{ name: A/B, file: /x }]": "certificates[0]: `name` has to be small letters",
            "certificates: [{ name: a, file: /x }, { name: a, file: /y }]": "certificates: two have the name `a`",
            "endpoints: [{ name: a, port: 0, tags: { a: b } }]": "endpoints[0]: `port` has to be a number from 1 to 65535",
            "endpoints: [{ name: a, port: 80, tags: {} }]": "endpoints[0]: `tags` has to be a mapping with at least one tag",
            "config: 2026-13-45": "is no YAML: month must be in 1..12",
            "config: " + "[" * 5000: "is no YAML",
            "config: !!map x": "is no YAML",
            'files: { "a\\0b": "ssm:/a" }': "`files` has to be without control characters, unlike 'a\\x00b'",
            'config: "file:/a\\0b"': "`config` has to be without control characters, unlike 'file:/a\\x00b'",
            'config: "ssm:\\ud800"': "`config` has to be without control characters",
            '"\\ud800": x': "there is no key `?`",
            "files: { a: 'ssm:/a', a/b: 'ssm:/a' }": "files: `a` is a file, and a folder in `a/b`",
            "files: { tollgate.yaml/x: 'ssm:/a' }": "files: `tollgate.yaml/x` has to be a path beside tollgate.yaml",
            "files: { %s: 'ssm:/a' }" % ("x" * 256): "has to be a path beside tollgate.yaml",
            "endpoints: [{ port: 80, tags: { a: b } }]": "endpoints[0]: `name` is missing",
        }
        for text, word in told.items():
            with self.subTest(text):
                self.box.write(text)
                self.refused(self.box.run("config"), word, code=78)
        self.box.settings.unlink()
        self.refused(self.box.run("config"), "user data has to write it", code=78)

    def test_what_nobody_foresaw_is_told_too(self) -> None:
        self.box.more["TOLLGATE_BOX_USER"] = "nobody-of-this-name"

        self.refused(self.box.run("config"), "tollgate-config itself fails, a fault of the program", "nobody-of-this-name", "KeyError")

        self.assertTrue(any("Traceback" in line["message"] for line in self.box.log()))

    def test_status_says_why(self) -> None:
        self.assertIn("ssm:/tollgate/prod/config: ssm:GetParameter in us-east-1 is refused", self.status("config", "denied"))
        self.put("", BAD.replace("rotes:", "r" * 3000 + ":"))
        told = self.status("config")
        self.assertIn("its files are refused, and there is none before it, so that nothing serves: error: tollgate.yaml:5: ", told)
        self.assertLess(len(told), 1000)

    def test_status_of_a_summary_says_the_first_reason(self) -> None:
        self.box.write(f"certificates: [{{ name: lost, file: {self.folder}/nowhere }}, {{ name: gone, file: /nowhere }}]\n")
        told = self.status("certificates")
        self.assertIn("2 of 2 certificates are not up to date: lost, gone; certificate lost, there is none", told)
        self.assertIn("cannot be read: No such file", told)

    def test_why_the_gateway_failed_is_told(self) -> None:
        self.box.journal("time=1 level=warn target=tollgate x\nerror: cannot listen at 0.0.0.0:8080\n")
        self.assertIn("exit-code: error: cannot listen at 0.0.0.0:8080", self.status("failed"))
        self.assertIn("cannot listen", self.box.log()[-1]["message"])
        self.box.journal("")
        self.assertIn("exit-code: it said nothing; look at", self.status("failed"))

    def status(self, program: str, fault: str = "") -> str:
        """The last STATUS that systemd hears of a run."""
        self.cloud.breaks("ssm:GetParameter", fault)
        name = self.folder / f"notify-{len(list(self.folder.iterdir()))}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(str(name))
            systemd.setblocking(False)
            self.box.more["NOTIFY_SOCKET"] = str(name)
            self.box.run(program)
            told = ""
            try:
                while True:
                    told = systemd.recv(65536).decode()
            except BlockingIOError:
                pass
        self.assertTrue(told.startswith("STATUS="), told)
        self.assertNotIn("\n", told)
        return told


class Rotating(list):
    """What the cloud hears; after the first answer about a secret it has another version."""

    def __init__(self, cloud: Cloud, rotate) -> None:
        super().__init__()
        self.cloud, self.rotate = cloud, rotate

    def append(self, heard) -> None:
        super().append(heard)
        if sum(action == "GetSecretValue" for _, action, *_ in self) == 2 and self.rotate:
            rotate, self.rotate = self.rotate, None
            rotate()


def small_files() -> None:
    """No file may be longer than this: the next write fails, as without room."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
