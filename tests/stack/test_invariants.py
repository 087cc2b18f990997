"""What has to hold between files that nobody reads together: stack, configuration, units,
image. Outages come from there.

Each invariant is a function that gets the fleet; `BREAKS` has for each a change of a file
after which it no longer holds, and a test that it is found.
"""

import os
import re
import subprocess
import sys
import tempfile
import unittest
from fractions import Fraction
from pathlib import Path
from unittest import mock

import yaml

from tests.stack.template import ALL, GIVEN, Stack, referred
from tests.stack.running import ROOT, Gateway, eventually

ROOTFS = ROOT / "ami" / "rootfs"
STACK = "ami/stack.yaml"
CONFIG = "ami/tollgate.yaml"
UNIT = "systemd/tollgate.service"
LIFECYCLE = "ami/rootfs/usr/lib/systemd/system/tollgate-lifecycle.service"
FETCH = "ami/rootfs/usr/lib/systemd/system/tollgate-config.service"
BOX = "ami/rootfs/usr/lib/systemd/system/tollgate.service.d/box.conf"
PRESET = "ami/rootfs/usr/lib/systemd/system-preset/50-tollgate-box.preset"
PLACE = "ami/rootfs/usr/lib/tollgate/box/place.py"
IMAGE = "ami/tollgate.pkr.hcl"
BOX_UNITS = "ami/rootfs/usr/lib/systemd/system"
MODULES = "ami/rootfs/usr/lib/tollgate/box"
ACCESS_ROTATE = "systemd/logrotate.d/tollgate"
BOX_ROTATE = "ami/rootfs/etc/logrotate.d/tollgate-box"
ROTATE_TIMER = "ami/rootfs/etc/systemd/system/logrotate.timer.d/50-tollgate.conf"
JOURNAL = "ami/rootfs/etc/systemd/journald.conf.d/50-tollgate.conf"
ALERTS = "ami/observability/alerts.yaml"
README = "ami/README.md"
# What README.md says that the disk is good for.
LINES_BYTES_A_SECOND = 3e6
# By how much gzip makes an access log smaller: 8.6 for lines that differ in path, client
# and ids alone, less for others.
COMPRESSES = 6


class Fleet:
    """The files, with changes; `text` is one of them."""

    def __init__(self, changes: dict[str, str] | None = None) -> None:
        self.changes = changes or {}
        self.stack = Stack("prod", ALL, self.text(STACK))
        self.config = yaml.safe_load(self.text(CONFIG))
        self.target = self.stack.one("TargetGroup")
        self.group = self.stack.one("Gateways")
        self.machine = self.stack.one("LaunchTemplate")["LaunchTemplateData"]
        self.hook, = self.group["LifecycleHookSpecificationList"]

    def text(self, path: str) -> str:
        return self.changes.get(path) or (ROOT / path).read_text()

    def unit(self, path: str, key: str) -> str:
        found = re.findall(rf"^(?:Environment=)?{key}=(.*)$", self.text(path), re.MULTILINE)
        assert len(found) == 1, f"{path}: {key}: {found}"
        return found[0]

    def balancing(self, key: str) -> str:
        return self.stack.attributes("TargetGroup", "TargetGroupAttributes")[key]

    @property
    def listener(self) -> dict:
        """The one behind the load balancer."""
        found, = [one for one in self.config["listeners"] if port(one["address"]) == self.target["Port"]]
        return found

    @property
    def accept(self) -> int:
        """How long a gateway that leaves still takes connections."""
        return int(self.unit(LIFECYCLE, "TOLLGATE_ACCEPT_SECONDS"))

    @property
    def leaving(self) -> int:
        """How long a gateway may take to leave."""
        return self.accept + max(seconds(self.config["connections"][key]) for key in ("max_drain", "max_drain_streams"))


def a_health_check_is_over_before_the_next(fleet: Fleet):
    assert fleet.target["HealthCheckTimeoutSeconds"] < fleet.target["HealthCheckIntervalSeconds"]


def connections_are_taken_until_the_load_balancer_sees_that_readiness_fails(fleet: Fleet):
    target = fleet.target
    assert fleet.accept >= target["HealthCheckIntervalSeconds"] * target["UnhealthyThresholdCount"] + target["HealthCheckTimeoutSeconds"]


def a_deregistered_target_is_not_forgotten_before_it_left(fleet: Fleet):
    assert fleet.leaving <= int(fleet.balancing("deregistration_delay.timeout_seconds")) <= 3600


def an_unhealthy_target_keeps_its_connections_until_it_left(fleet: Fleet):
    assert int(fleet.balancing("target_health_state.unhealthy.draining_interval_seconds")) >= fleet.leaving


def the_load_balancer_cuts_nobody(fleet: Fleet):
    assert fleet.balancing("target_health_state.unhealthy.connection_termination.enabled") == "false"
    assert fleet.balancing("deregistration_delay.connection_termination.enabled") == "false"


def the_drain_is_given_the_time_that_it_may_take(fleet: Fleet):
    assert int(fleet.unit(LIFECYCLE, "TOLLGATE_DRAIN_SECONDS")) > fleet.leaving


def the_hook_holds_the_machine_for_longer(fleet: Fleet):
    takes = int(fleet.unit(LIFECYCLE, "TOLLGATE_POLL_SECONDS")) + int(fleet.unit(LIFECYCLE, "TOLLGATE_DRAIN_SECONDS"))
    assert fleet.hook["HeartbeatTimeout"] > takes + int(fleet.unit(LIFECYCLE, "TOLLGATE_AGAIN_SECONDS"))


def systemd_waits_for_longer(fleet: Fleet):
    assert seconds(fleet.unit(UNIT, "TimeoutStopSec")) > fleet.leaving


def the_hook_is_the_one_that_the_machine_completes(fleet: Fleet):
    assert fleet.hook["LifecycleHookName"] == fleet.unit(LIFECYCLE, "TOLLGATE_HOOK")
    assert (fleet.hook["LifecycleTransition"], fleet.hook["DefaultResult"]) == ("autoscaling:EC2_INSTANCE_TERMINATING", "CONTINUE")


def gateways_end_idle_connections_before_the_load_balancer_forgets_them(fleet: Fleet):
    idle = int(fleet.stack.attributes("Listener", "ListenerAttributes")["tcp.idle_timeout.seconds"])
    assert seconds(fleet.config["connections"]["idle"]) < idle


def the_listener_expects_the_header_that_the_load_balancer_sends(fleet: Fleet):
    assert fleet.listener["proxy_protocol"]["mode"] == "required"
    assert fleet.balancing("proxy_protocol_v2.enabled") == "true"
    assert fleet.balancing("preserve_client_ip.enabled") == "false"


def tls_ends_at_the_gateway(fleet: Fleet):
    assert (fleet.target["Protocol"], fleet.stack.one("Listener")["Protocol"]) == ("TCP", "TCP")
    assert "tls" in fleet.listener


def health_checks_ask_readiness(fleet: Fleet):
    assert int(fleet.target["HealthCheckPort"]) == port(fleet.config["readiness"]["address"])
    assert (fleet.target["HealthCheckProtocol"], fleet.target["HealthCheckPath"]) == ("HTTP", "/readyz")


def only_the_load_balancer_reaches_gateways(fleet: Fleet):
    ports = {port(fleet.config["readiness"]["address"]), fleet.target["Port"]}
    rules = fleet.stack.one("GatewayGroup")["SecurityGroupIngress"]
    assert {(rule["FromPort"], rule["ToPort"]) for rule in rules} == {(one, one) for one in ports}
    assert {rule.get("SourceSecurityGroupId") for rule in rules} == {"<LoadBalancerGroup.GroupId>"}
    out = fleet.stack.properties("AWS::EC2::SecurityGroupEgress")
    assert {(rule["FromPort"], rule["DestinationSecurityGroupId"]) for rule in out} == {(one, "<GatewayGroup.GroupId>") for one in ports}


def metrics_and_the_operators_socket_are_for_the_machine_alone(fleet: Fleet):
    assert fleet.config["admin"]["metrics"].startswith("127.0.0.1:")
    assert port(fleet.config["admin"]["metrics"]) not in (fleet.target["Port"], int(fleet.target["HealthCheckPort"]))


def credentials_are_for_this_machine_alone(fleet: Fleet):
    options = fleet.machine["MetadataOptions"]
    assert (options["HttpTokens"], options["HttpPutResponseHopLimit"]) == ("required", 1)


def the_machine_can_read_what_it_is_called(fleet: Fleet):
    assert fleet.machine["MetadataOptions"]["InstanceMetadataTags"] == "enabled"
    tags = {tag["Key"]: tag["Value"] for tag in fleet.group["Tags"] if tag["PropagateAtLaunch"]}
    assert tags["tollgate:stack"] == "prod"


def user_data_is_what_the_machine_takes(fleet: Fleet):
    for parameters in (ALL, GIVEN, {**GIVEN, "Settings": "files: { redis-password: \"secretsmanager:tollgate/prod/redis-password\" }"}):
        text = Stack("prod", parameters, fleet.text(STACK)).box()
        settings = read_settings(text)
        source = f"{settings.config.scheme}:{settings.config.name}"
        assert allowed(fleet, "ssm:GetParameter", "parameter" + settings.config.name), source


def the_stores_password_is_one_that_the_machine_may_read(fleet: Fleet):
    name = fleet.stack.one("StorePassword")["Name"]
    # Secrets Manager adds six characters to the name.
    assert allowed(fleet, "secretsmanager:GetSecretValue", f"secret:{name}-AbCdEf")


def the_machine_lets_go_of_its_own_group(fleet: Fleet):
    assert allowed(fleet, "autoscaling:CompleteLifecycleAction", "autoScalingGroup:1:autoScalingGroupName/" + fleet.group["AutoScalingGroupName"])


def the_gateway_serves_what_was_fetched(fleet: Fleet):
    run = re.search(r'"TOLLGATE_BOX_RUN", "([^"]+)"', fleet.text(PLACE))[1]
    assert fleet.unit(BOX, "TOLLGATE_CONFIG") == f"{run}/current/tollgate.yaml"
    assert fleet.unit(BOX, "ConditionPathExists") == f"{run}/current/tollgate.yaml"
    assert fleet.listener["tls"]["certificate_directory"] == f"{run}/tls"
    assert "tollgate-config.service" in fleet.unit(BOX, "After")


def a_new_machine_is_given_the_time_to_start(fleet: Fleet):
    # Calls that fail are tried for 25 s each, then the gateway starts.
    starts = seconds(fleet.unit(UNIT, "TimeoutStartSec"))
    assert fleet.group["HealthCheckGracePeriod"] >= starts + 25
    assert fleet.group["DefaultInstanceWarmup"] <= fleet.group["HealthCheckGracePeriod"]


def each_zone_has_a_gateway(fleet: Fleet):
    zones = len(fleet.group["VPCZoneIdentifier"])
    assert fleet.stack.attributes("LoadBalancer", "LoadBalancerAttributes")["load_balancing.cross_zone.enabled"] == "false"
    assert zones == 3
    for parameter in ("MinGateways", "MaxGateways"):
        assert all(size >= zones and size % zones == 0 for size in sizes(fleet, parameter)), parameter


def no_stack_is_begun_with_sizes_that_do_not_fit(fleet: Fleet):
    text = fleet.text(STACK)
    assert sizes(fleet, "MinGateways") == sizes(fleet, "MaxGateways")
    for least in sizes(fleet, "MinGateways"):
        for most in sizes(fleet, "MaxGateways"):
            refused = Stack("prod", {**ALL, "MinGateways": str(least), "MaxGateways": str(most)}, text).refused()
            assert bool(refused) == (most < least), (least, most, refused)


def no_stack_is_begun_with_half_a_record(fleet: Fleet):
    for zone, name in (("", ""), ("Z1", ""), ("", "api.example.com"), ("Z1", "api.example.com")):
        refused = Stack("prod", {**GIVEN, "HostedZoneId": zone, "DomainName": name}, fleet.text(STACK)).refused()
        assert bool(refused) == (bool(zone) != bool(name)), (zone, name, refused)


def a_group_beside_a_load_balancer_without_cross_zone_says_that_it_knows(fleet: Fleet):
    cross = fleet.stack.attributes("LoadBalancer", "LoadBalancerAttributes")["load_balancing.cross_zone.enabled"] == "true"
    shifted = fleet.group["AvailabilityZoneImpairmentPolicy"]["ZonalShiftEnabled"]
    assert shifted and (cross or fleet.group.get("SkipZonalShiftValidation") is True)


def what_a_machine_needs_until_its_end_goes_after_it(fleet: Fleet):
    needed = set()
    for name, resource in fleet.stack.template["Resources"].items():
        kind, spoken = resource["Type"], referred(resource.get("Properties", {}))
        needed |= {name} if kind == "AWS::IAM::RolePolicy" and "Role" in spoken else set()
        needed |= {name} if kind.startswith("AWS::EC2::SecurityGroup") and "GatewayGroup" in spoken and name != "StoreGroup" else set()
        needed |= {name} if kind == "AWS::ElasticLoadBalancingV2::Listener" and "TargetGroup" in spoken else set()
        needed |= {name} if kind == "AWS::Logs::LogGroup" else set()
    assert len(needed) >= 14, needed
    assert needed <= fleet.stack.needs("Gateways"), needed - fleet.stack.needs("Gateways")
    # DependsOn on what may be left out is a mistake (cfn-lint's E3005).
    assert not [one for one in fleet.stack.template["Resources"]["Gateways"]["DependsOn"] if "Condition" in fleet.stack.template["Resources"][one]]


def settings_keep_the_certificate_that_the_listener_needs(fleet: Fleet):
    # README's and tollgate.yaml's examples, as `Settings` or with more around them.
    examples = [text for text in re.findall(r"^```yaml\n(.*?)^```$", fleet.text(README), re.MULTILINE | re.DOTALL)
                if set(yaml.safe_load(text)) <= {"config", "files", "certificates", "endpoints"}]
    examples += re.findall(r"^#  +(files: \{.*\})$", fleet.text(CONFIG), re.MULTILINE)
    assert len(examples) == 3, examples
    for text in examples:
        told = re.sub(r"^config:.*\n", "", text, flags=re.MULTILINE)
        settings = read_settings(Stack("prod", {**ALL, "Settings": told}, fleet.text(STACK)).box())
        wanted = [one["name"] for one in yaml.safe_load(told).get("certificates", [{"name": "public"}])]
        assert [one.name for one in settings.certificates] == wanted, settings
        assert set(settings.files) == set(yaml.safe_load(told).get("files", {}))
        for source in settings.files.values():
            name = source.name.replace("/STACK/", "/prod/")
            if source.scheme == "s3":
                assert name.removeprefix("//").startswith(f"{ALL['ConfigBucket']}/tollgate/prod/"), name
            else:
                assert allowed(fleet, "secretsmanager:GetSecretValue", f"secret:{name}-AbCdEf"), name


def a_machine_that_could_not_drain_is_told_at_once(fleet: Fleet):
    unit = re.search(r'^UNIT = "([^"]+)"$', fleet.text(f"{MODULES}/lifecycle.py"), re.MULTILINE)[1]
    assert f'$.unit = "{unit}"' in fleet.stack.one("DrainErrorsMetric")["FilterPattern"]
    alarm = fleet.stack.one("DrainErrorsAlarm")
    # Its machine says it once.
    assert (alarm["EvaluationPeriods"], alarm.get("DatapointsToAlarm", 1)) == (1, 1)


def a_fleet_without_telemetry_is_seen(fleet: Fleet):
    assert fleet.stack.one("ReloadFailedAlarm")["TreatMissingData"] == "breaching"
    agents = ("amazon-cloudwatch-agent", "amazon-ssm-agent")
    builds = [line for line in fleet.text(README).splitlines() if line.startswith("packer build")]
    assert builds and all(f"{agent}.deb" in line for line in builds for agent in agents), builds
    for agent in agents:
        assert re.search(rf"^curl .*https://\S+/{agent}\.deb$", fleet.text(README), re.MULTILINE), agent


def a_roll_out_that_ends_an_alarm_is_not_stopped_by_it(fleet: Fleet):
    for guarded, alarms in (("true", 3), ("false", 0)):
        stack = Stack("prod", {**ALL, "GuardedByAlarms": guarded}, fleet.text(STACK))
        preferences = stack.resolved(stack.resources["Gateways"]["UpdatePolicy"])["AutoScalingInstanceRefresh"]["Preferences"]
        assert len(preferences.get("AlarmSpecification", {}).get("Alarms", [])) == alarms, guarded
    told = re.search(r"^### Bad version$.*?^### ", fleet.text(README), re.MULTILINE | re.DOTALL)[0]
    assert re.search(r"deploy .*ImageId=ami-0old.* GuardedByAlarms=false", told), told


def a_fleet_of_the_least_size_is_replaced_a_gateway_at_a_time(fleet: Fleet):
    least = sizes(fleet, "MinGateways")[0]
    for policy in (fleet.group["InstanceMaintenancePolicy"], fleet.stack.resources["Gateways"]["UpdatePolicy"]["AutoScalingInstanceRefresh"]["Preferences"]):
        assert policy["MinHealthyPercentage"] == 100
        assert least * policy["MaxHealthyPercentage"] // 100 == least + 1, policy


def the_disk_is_the_images_own(fleet: Fleet):
    disk, = fleet.machine["BlockDeviceMappings"]
    image = fleet.text(IMAGE)
    assert re.search(r'device_name\s*=\s*"([^"]+)"', image)[1] == disk["DeviceName"]
    assert int(re.search(r"volume_size\s*=\s*(\d+)", image)[1]) <= disk["Ebs"]["VolumeSize"]
    assert disk["Ebs"]["Encrypted"] is True


def logs_fit_the_disk(fleet: Fleet):
    disk = fleet.machine["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] * 1e9
    # The image's own disk holds the system, and more.
    system = int(re.search(r"volume_size\s*=\s*(\d+)", fleet.text(IMAGE))[1]) * 1e9
    minutes = int(re.fullmatch(r"\*:0/(\d+)", fleet.text(ROTATE_TIMER).split("OnCalendar=")[2].split()[0])[1])
    # With the minute of AccuracySec.
    access = rotated(fleet.text(ACCESS_ROTATE), (minutes + 1) * 60 * LINES_BYTES_A_SECOND)
    # The process log and the box's. They are short, but for a fault that repeats.
    box = 2 * rotated(fleet.text(BOX_ROTATE), 100e6)
    assert system + access + box + size(fleet.unit(JOURNAL, "SystemMaxUse")) <= disk * 0.98


def logrotate_looks_as_often_as_its_timer_says(fleet: Fleet):
    text = fleet.text(ROTATE_TIMER)
    # Without the empty line first Debian's own time would stay.
    assert re.findall(r"^OnCalendar=(.*)$", text, re.MULTILINE)[0] == ""
    assert (fleet.unit(ROTATE_TIMER, "AccuracySec"), fleet.unit(ROTATE_TIMER, "RandomizedDelaySec")) == ("1min", "0")


def readme_tells_how_much_of_the_access_log_is_kept(fleet: Fleet):
    words = dict(re.findall(r"^\s+(rotate|maxsize) (\S+)$", fleet.text(ACCESS_ROTATE), re.MULTILINE))
    assert f"keeps {words['rotate']} files of {words['maxsize'].replace('M', ' MB')}, all but the last compressed" in fleet.text(README)
    assert f"{LINES_BYTES_A_SECOND / 1e6:g} MB/s" in fleet.text(README)


def a_machine_that_serves_leaves_the_next_try_to_the_timer(fleet: Fleet):
    codes = fleet.unit(FETCH, "RestartPreventExitStatus").split()
    assert number(fleet, "config.py", "SERVES_ON") in map(float, codes)
    assert "78" in codes and fleet.unit(FETCH, "Restart") == "on-failure"


def a_machine_that_has_its_certificates_leaves_the_next_try_to_the_timer(fleet: Fleet):
    codes = fleet.unit(f"{BOX_UNITS}/tollgate-certificates.service", "RestartPreventExitStatus").split()
    assert number(fleet, "config.py", "SERVES_ON") in map(float, codes)
    assert "78" in codes


def a_run_with_fifty_entries_and_a_silent_service_tries_each(fleet: Fleet):
    told = fleet.text(f"{MODULES}/retry.py")
    patience = float(re.search(r'"TOLLGATE_BOX_PATIENCE", "(\d+)"', told)[1])
    one = float(re.search(r"TRY_SECONDS = min\(([\d.]+),", told)[1])
    for unit in ("endpoints", "certificates"):
        # Credentials that end in the middle are asked for with the same patience.
        assert seconds(fleet.unit(f"{BOX_UNITS}/tollgate-{unit}.service", "TimeoutStartSec")) >= 2 * patience + 50 * one, unit


def a_certificate_is_renewed_before_anybody_is_alarmed(fleet: Fleet):
    named = [int(days) for days in re.findall(r"expiry_timestamp_seconds - time\(\) < (\d+) \* 86400", fleet.text(ALERTS))]
    alarms = [fleet.stack.one("CertificateExpiryAlarm")["Threshold"], number(fleet, "certificates.py", "SOON_DAYS"), *named]
    least = re.search(r"^DAYS, LEAST_DAYS, MOST_DAYS = (\d+), (\d+), ", fleet.text(f"{MODULES}/settings.py"), re.MULTILINE)
    renewed = 1 - Fraction(re.search(r"^RENEW_AT = (\d+ / \d+)$", fleet.text(f"{MODULES}/private_ca.py"), re.MULTILINE)[1].replace(" ", ""))
    for days in map(int, least.groups()):
        assert days * renewed > max(alarms), days


def every_unit_of_the_image_is_enabled(fleet: Fleet):
    """Or started when the gateway fails."""
    units = {path.name for path in (ROOTFS / "usr/lib/systemd/system").glob("tollgate-*.*") if path.is_file()}
    enabled = set(re.findall(r"^enable (\S+)$", fleet.text(PRESET), re.MULTILINE))
    enabled |= set(re.findall(r"^OnFailure=(\S+)$", fleet.text(BOX), re.MULTILINE))
    assert units <= enabled, units - enabled


INVARIANTS = [value for value in list(globals().values())
              if callable(value) and getattr(value, "__annotations__", {}).keys() == {"fleet"}]

# Invariant, file, what is there, what somebody writes.
BREAKS = [
    (a_health_check_is_over_before_the_next, STACK, "HealthCheckTimeoutSeconds: 5", "HealthCheckTimeoutSeconds: 10"),
    (connections_are_taken_until_the_load_balancer_sees_that_readiness_fails, STACK, "HealthCheckIntervalSeconds: 10", "HealthCheckIntervalSeconds: 100"),
    (connections_are_taken_until_the_load_balancer_sees_that_readiness_fails, LIFECYCLE, "ACCEPT_SECONDS=180", "ACCEPT_SECONDS=20"),
    (a_deregistered_target_is_not_forgotten_before_it_left, CONFIG, "max_drain_streams: 10m", "max_drain_streams: 30m"),
    (a_deregistered_target_is_not_forgotten_before_it_left, STACK, 'timeout_seconds, Value: "900"', 'timeout_seconds, Value: "300"'),
    (an_unhealthy_target_keeps_its_connections_until_it_left, STACK, 'interval_seconds, Value: "900"', 'interval_seconds, Value: "0"'),
    (the_load_balancer_cuts_nobody, STACK, 'unhealthy.connection_termination.enabled, Value: "false"', 'unhealthy.connection_termination.enabled, Value: "true"'),
    (the_load_balancer_cuts_nobody, STACK, 'delay.connection_termination.enabled, Value: "false"', 'delay.connection_termination.enabled, Value: "true"'),
    (the_drain_is_given_the_time_that_it_may_take, LIFECYCLE, "DRAIN_SECONDS=1100", "DRAIN_SECONDS=700"),
    (the_hook_holds_the_machine_for_longer, STACK, "HeartbeatTimeout: 1200", "HeartbeatTimeout: 1100"),
    (systemd_waits_for_longer, UNIT, "TimeoutStopSec=1830s", "TimeoutStopSec=90s"),
    (the_hook_is_the_one_that_the_machine_completes, STACK, "LifecycleHookName: tollgate-drain", "LifecycleHookName: drain"),
    (gateways_end_idle_connections_before_the_load_balancer_forgets_them, CONFIG, "idle: 330s", "idle: 6m"),
    (the_listener_expects_the_header_that_the_load_balancer_sends, STACK, 'proxy_protocol_v2.enabled, Value: "true"', 'proxy_protocol_v2.enabled, Value: "false"'),
    (the_listener_expects_the_header_that_the_load_balancer_sends, CONFIG, "mode: required", "mode: optional"),
    (tls_ends_at_the_gateway, STACK, "Protocol: TCP\n      Port: 443", "Protocol: TLS\n      Port: 443"),
    (health_checks_ask_readiness, CONFIG, "0.0.0.0:8081", "0.0.0.0:8082"),
    (health_checks_ask_readiness, STACK, "HealthCheckPath: /readyz", "HealthCheckPath: /healthz"),
    (only_the_load_balancer_reaches_gateways, STACK, "SourceSecurityGroupId: !GetAtt LoadBalancerGroup.GroupId\n          Description: Requests",
     "CidrIp: 10.0.0.0/8\n          Description: Requests"),
    (only_the_load_balancer_reaches_gateways, STACK, "FromPort: 8081\n      ToPort: 8081", "FromPort: 8080\n      ToPort: 8080"),
    (metrics_and_the_operators_socket_are_for_the_machine_alone, CONFIG, "127.0.0.1:9901", "0.0.0.0:9901"),
    (credentials_are_for_this_machine_alone, STACK, "HttpPutResponseHopLimit: 1", "HttpPutResponseHopLimit: 2"),
    (the_machine_can_read_what_it_is_called, STACK, "InstanceMetadataTags: enabled", "InstanceMetadataTags: disabled"),
    (the_machine_can_read_what_it_is_called, STACK, '- { Key: "tollgate:stack", Value: !Ref AWS::StackName, PropagateAtLaunch: true }', ""),
    (user_data_is_what_the_machine_takes, STACK, "config: ssm:/tollgate/${AWS::StackName}/config", "config: ssm:/gateway/${AWS::StackName}/config"),
    (user_data_is_what_the_machine_takes, STACK, "config: ssm:/", "configuration: ssm:/"),
    (the_stores_password_is_one_that_the_machine_may_read, STACK, 'Name: !Sub "tollgate/${AWS::StackName}/redis-password"', 'Name: !Sub "${AWS::StackName}/redis-password"'),
    (the_machine_lets_go_of_its_own_group, STACK, 'AutoScalingGroupName: !Sub "tollgate-${AWS::StackName}"', 'AutoScalingGroupName: !Sub "${AWS::StackName}-gateways"'),
    (the_gateway_serves_what_was_fetched, CONFIG, "/run/tollgate-box/tls", "/etc/tollgate/tls"),
    (the_gateway_serves_what_was_fetched, BOX, "TOLLGATE_CONFIG=/run/tollgate-box/current", "TOLLGATE_CONFIG=/etc/tollgate"),
    (a_new_machine_is_given_the_time_to_start, STACK, "HealthCheckGracePeriod: 120", "HealthCheckGracePeriod: 60"),
    (each_zone_has_a_gateway, STACK, 'AllowedValues: ["3", "6"', 'AllowedValues: ["1", "6"'),
    (each_zone_has_a_gateway, STACK, 'AllowedValues: ["3", "6"', 'AllowedValues: ["3", "7"'),
    (no_stack_is_begun_with_sizes_that_do_not_fit, STACK, '!Contains [["3", "6"], !Ref MinGateways]', '!Contains [["3", "6", "9"], !Ref MinGateways]'),
    (no_stack_is_begun_with_half_a_record, STACK, '!And [!Equals [!Ref HostedZoneId, ""]', '!Or [!Equals [!Ref HostedZoneId, ""]'),
    (a_group_beside_a_load_balancer_without_cross_zone_says_that_it_knows, STACK, "      SkipZonalShiftValidation: true\n", ""),
    (what_a_machine_needs_until_its_end_goes_after_it, STACK, "      - DrainPolicy\n", ""),
    (what_a_machine_needs_until_its_end_goes_after_it, STACK, "      - Listener\n", ""),
    (what_a_machine_needs_until_its_end_goes_after_it, STACK, "      - LoadBalancerToReadiness\n", ""),
    (what_a_machine_needs_until_its_end_goes_after_it, STACK, "      - BoxLogs\n", ""),
    (what_a_machine_needs_until_its_end_goes_after_it, STACK, '        - !If [HasCertificates, !Ref CertificatesPolicy, ""]\n', ""),
    (what_a_machine_needs_until_its_end_goes_after_it, STACK, "      - Listener\n", "      - Listener\n      - CertificatesPolicy\n"),
    (settings_keep_the_certificate_that_the_listener_needs, STACK, "                    ${Certificates}\n", ""),
    (settings_keep_the_certificate_that_the_listener_needs, STACK, "                      - HasOwnCertificates\n", "                      - IsGuarded\n"),
    (settings_keep_the_certificate_that_the_listener_needs, STACK, "                      - HasOwnCertificates\n", "                      - IsChina\n"),
    (settings_keep_the_certificate_that_the_listener_needs, README, "secretsmanager:tollgate/prod/jwt#a", "secretsmanager:gateway/prod/jwt#a"),
    (a_machine_that_could_not_drain_is_told_at_once, f"{MODULES}/lifecycle.py", 'UNIT = "tollgate-lifecycle"', 'UNIT = "tollgate-drain"'),
    (a_machine_that_could_not_drain_is_told_at_once, STACK, "MetricName: drain_errors\n      Statistic: Sum\n      Period: 300\n      ComparisonOperator: GreaterThanThreshold\n      Threshold: 0\n      EvaluationPeriods: 1",
     "MetricName: drain_errors\n      Statistic: Sum\n      Period: 300\n      ComparisonOperator: GreaterThanThreshold\n      Threshold: 0\n      EvaluationPeriods: 3"),
    (a_fleet_without_telemetry_is_seen, STACK, "no other alarm of its own metrics sounds.\n      TreatMissingData: breaching", "no other alarm of its own metrics sounds.\n      TreatMissingData: missing"),
    (a_fleet_without_telemetry_is_seen, README, "amazon-cloudwatch-agent.deb\",", ""),
    (a_roll_out_that_ends_an_alarm_is_not_stopped_by_it, STACK, "            - IsGuarded\n", "            - HasTopic\n"),
    (a_roll_out_that_ends_an_alarm_is_not_stopped_by_it, README, " GuardedByAlarms=false", ""),
    (a_fleet_of_the_least_size_is_replaced_a_gateway_at_a_time, STACK, "MinHealthyPercentage: 100, MaxHealthyPercentage: 134", "MinHealthyPercentage: 100, MaxHealthyPercentage: 110"),
    (the_disk_is_the_images_own, STACK, "DeviceName: /dev/xvda", "DeviceName: /dev/sda1"),
    (logs_fit_the_disk, ACCESS_ROTATE, "maxsize 512M", "maxsize 2G"),
    (logs_fit_the_disk, ACCESS_ROTATE, "rotate 10", "rotate 20"),
    (logs_fit_the_disk, ACCESS_ROTATE, "    compress\n", ""),
    (logs_fit_the_disk, ROTATE_TIMER, "*:0/10", "*:0/30"),
    (logs_fit_the_disk, STACK, "VolumeSize: 20", "VolumeSize: 16"),
    (logrotate_looks_as_often_as_its_timer_says, ROTATE_TIMER, "OnCalendar=\n", ""),
    (logrotate_looks_as_often_as_its_timer_says, ROTATE_TIMER, "AccuracySec=1min", "AccuracySec=1h"),
    (readme_tells_how_much_of_the_access_log_is_kept, ACCESS_ROTATE, "rotate 10", "rotate 9"),
    (a_machine_that_serves_leaves_the_next_try_to_the_timer, FETCH, "RestartPreventExitStatus=10 78", "RestartPreventExitStatus=78"),
    (a_machine_that_serves_leaves_the_next_try_to_the_timer, f"{MODULES}/config.py", "SERVES_ON = 10", "SERVES_ON = 11"),
    (a_machine_that_has_its_certificates_leaves_the_next_try_to_the_timer, f"{BOX_UNITS}/tollgate-certificates.service",
     "RestartPreventExitStatus=10 78", "RestartPreventExitStatus=78"),
    (a_run_with_fifty_entries_and_a_silent_service_tries_each, f"{BOX_UNITS}/tollgate-endpoints.service", "TimeoutStartSec=330s", "TimeoutStartSec=120s"),
    (a_run_with_fifty_entries_and_a_silent_service_tries_each, f"{MODULES}/retry.py", '"25"', '"60"'),
    (a_certificate_is_renewed_before_anybody_is_alarmed, f"{MODULES}/settings.py", "= 60, 45, 397", "= 60, 7, 397"),
    (a_certificate_is_renewed_before_anybody_is_alarmed, STACK, "Threshold: 14\n", "Threshold: 21\n"),
    (every_unit_of_the_image_is_enabled, PRESET, "enable tollgate-lifecycle.service\n", ""),
    (every_unit_of_the_image_is_enabled, BOX, "OnFailure=tollgate-failed.service\n", ""),
]


class Invariants(unittest.TestCase):
    def test_each_holds(self):
        fleet = Fleet()
        for invariant in INVARIANTS:
            with self.subTest(invariant.__name__):
                invariant(fleet)

    def test_each_is_found_to_be_broken(self):
        for invariant, path, there, written in BREAKS:
            with self.subTest(invariant.__name__, path=path, written=written):
                text = (ROOT / path).read_text()
                self.assertIn(there, text)
                with self.assertRaises((AssertionError, ValueError, KeyError, SystemError)):
                    invariant(Fleet({path: text.replace(there, written, 1)}))
        self.assertEqual({invariant for invariant, *_ in BREAKS}, set(INVARIANTS))

    def test_the_configuration_serves_as_it_stands(self):
        text = (ROOT / CONFIG).read_text()
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(f"{folder}/tls")
            make_certificate(Path(folder) / "tls")
            for there, here in (("/run/tollgate-box/tls", f"{folder}/tls"), ("0.0.0.0:8443", "@public@"), ("0.0.0.0:8081", "@readiness@"),
                                ("127.0.0.1:9901", "@metrics@"), ("/run/tollgate/admin.sock", "@folder@/admin.sock"),
                                ("/var/log/tollgate/", "@folder@/"), ("zone: imds", "zone: use1-az1")):
                self.assertIn(there, text)
                text = text.replace(there, here)
            with Gateway(text, ("public", "readiness", "metrics")) as gateway:
                self.assertEqual(gateway.get("metrics", "/metrics")[0], 200)
                checked = gateway.command("check", "--strict", str(gateway.folder / "tollgate.yaml"))
                self.assertEqual(checked.returncode, 0, checked.stdout)
                # What a health check of the load balancer sees of a gateway that leaves.
                self.assertEqual(gateway.get("readiness", "/readyz")[0], 200)
                gateway.command("drain", "--fail-readiness", "--accept-for", "60", "--no-wait")
                eventually(lambda: gateway.get("readiness", "/readyz")[0] == 503, "readiness fails")


def make_certificate(folder: Path) -> None:
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "public.key", "-out", folder / "public.pem"], stderr=subprocess.DEVNULL, check=True)


def read_settings(text: str):
    """By the machine's own reader."""
    sys.path.insert(0, str(ROOTFS / "usr/lib/tollgate"))
    try:
        from box import failure, place, settings
    finally:
        sys.path.pop(0)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file, mock.patch.object(place, "SETTINGS", Path(file.name)):
        file.write(text)
        file.flush()
        try:
            return settings.read()
        except failure.Mistake as why:
            raise ValueError(str(why)) from None


def allowed(fleet: Fleet, action: str, resource: str) -> bool:
    """Whether the role may do it to what `resource` ends the ARN of."""
    for statement in fleet.stack.statements():
        resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        for pattern in resources if action in statement["Action"] else []:
            words = ".*".join(re.escape(word) for word in pattern.split("*"))
            if re.fullmatch(words, f"arn:aws:{action.partition(':')[0]}:us-east-1:111122223333:{resource}"):
                return True
    return False


def sizes(fleet: Fleet, parameter: str) -> list[int]:
    """Those that a parameter may have, the least first."""
    return sorted(map(int, fleet.stack.template["Parameters"][parameter]["AllowedValues"]))


def number(fleet: Fleet, module: str, name: str) -> float:
    """A constant of a module of the machine's."""
    return float(re.search(rf"^{name} = (\d+)$", fleet.text(f"{MODULES}/{module}"), re.MULTILINE)[1])


def rotated(text: str, grows: float) -> float:
    """The most bytes of a log and its former files. `grows` is what is written until
    logrotate looks again."""
    words = dict(re.findall(r"^\s+(\w+) ?(\S*)$", text, re.MULTILINE))
    each = size(words["maxsize"]) + grows
    smaller = COMPRESSES if "compress" in words else 1
    # The last is not compressed, and while it is, both of it are there.
    return 2 * each + int(words["rotate"]) * each / smaller


def size(text: str) -> float:
    return int(text[:-1]) * {"M": 2 ** 20, "G": 2 ** 30}[text[-1]]


def port(address: str) -> int:
    return int(address.rpartition(":")[2])


def seconds(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(s|m|h|)", text).groups()
    return int(number) * {"s": 1, "": 1, "m": 60, "h": 3600}[unit]


if __name__ == "__main__":
    unittest.main()
