# The image of the fleet: Debian 12 with the package, what fetches its configuration, and
# nothing of the machine that built it. ami/README.md tells how it is used.

locals {
  # Debian's words for what AWS calls x86_64.
  debian_arch   = var.arch == "x86_64" ? "amd64" : "arm64"
  instance_type = var.arch == "x86_64" ? "t3a.small" : "t4g.small"
  built         = formatdate("YYYYMMDDhhmmss", timestamp())
  name          = "tollgate-${var.version}-${var.arch}-${local.built}"

  # Of AWS's own key for EBS nobody else gets a copy: what is shared needs one of yours in
  # each region. A variable's validation sees no other variable, so that a file that is
  # not there says it.
  own_keys = merge({ (var.region) = var.kms_key_id }, var.region_kms_key_ids)
  keyless  = [for region in concat([var.region], var.copy_to_regions) : region if lookup(local.own_keys, region, "") == ""]
  shared_with = length(var.share_with_organizations) == 0 || length(local.keyless) == 0 ? var.share_with_organizations : [
    file("a shared image needs kms_key_id, and a key in region_kms_key_ids for each copy: there is none for ${join(", ", local.keyless)}")
  ]
}

# Debian's own account; the newest has the fewest packages to upgrade.
data "amazon-ami" "debian" {
  region      = var.region
  owners      = ["136693071363"]
  most_recent = true
  filters = {
    name                = "debian-12-${local.debian_arch}-*"
    virtualization-type = "hvm"
    root-device-type    = "ebs"
  }
}

source "amazon-ebs" "tollgate" {
  ami_name        = local.name
  ami_description = "Tollgate ${var.version} on Debian 12, ${var.arch}"
  ami_regions     = var.copy_to_regions
  ami_org_arns    = local.shared_with
  # What starts from it has version 2 of the metadata service alone; `metadata_options`
  # below is for the machine that builds.
  imds_support = "v2.0"
  deprecate_at = timeadd(timestamp(), var.deprecate_after)
  encrypt_boot = true
  # The first is for this region alone: a copy has its own, or the account's own for EBS.
  kms_key_id         = var.kms_key_id
  region_kms_key_ids = var.region_kms_key_ids

  region                      = var.region
  source_ami                  = data.amazon-ami.debian.id
  instance_type               = local.instance_type
  subnet_id                   = var.subnet_id
  iam_instance_profile        = var.instance_profile
  associate_public_ip_address = var.ssh_interface == ""
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  communicator  = "ssh"
  ssh_username  = "admin"
  ssh_interface = var.ssh_interface
  ssh_timeout   = "5m"

  launch_block_device_mappings {
    device_name           = "/dev/xvda"
    volume_type           = "gp3"
    volume_size           = 8
    iops                  = 3000
    throughput            = 125
    delete_on_termination = true
  }

  tags = {
    Name                = local.name
    "tollgate:version"  = var.version
    "tollgate:revision" = var.revision
    "tollgate:arch"     = var.arch
    "tollgate:base"     = "{{ .SourceAMIName }}"
  }
  run_tags = {
    Name = "build of ${local.name}"
  }
  snapshot_tags = {
    Name               = local.name
    "tollgate:version" = var.version
  }
}

build {
  sources = ["source.amazon-ebs.tollgate"]

  provisioner "shell" {
    # The user data of Debian's image may still upgrade or install.
    inline = ["cloud-init status --wait || true", "mkdir -p /tmp/tollgate-image/debs /tmp/tollgate-image/sbom"]
  }
  provisioner "file" {
    source      = "${path.root}/rootfs"
    destination = "/tmp/tollgate-image"
  }
  provisioner "file" {
    source      = var.deb
    destination = "/tmp/tollgate-image/tollgate.deb"
  }
  provisioner "file" {
    # A file that is always there, for a list may not be empty.
    sources     = concat(["${path.root}/provision/README.md"], var.agent_debs)
    destination = "/tmp/tollgate-image/debs/"
  }
  provisioner "file" {
    sources     = concat(["${path.root}/provision/README.md"], var.sbom)
    destination = "/tmp/tollgate-image/sbom/"
  }
  provisioner "shell" {
    execute_command  = "sudo env {{ .Vars }} bash '{{ .Path }}'"
    environment_vars = ["TOLLGATE_VERSION=${var.version}", "TOLLGATE_REVISION=${var.revision}", "DEBIAN_FRONTEND=noninteractive"]
    scripts = [
      "${path.root}/provision/10-packages.sh",
      "${path.root}/provision/20-overlay.sh",
      "${path.root}/provision/30-tollgate.sh",
      "${path.root}/provision/40-agents.sh",
      "${path.root}/provision/50-units.sh",
      "${path.root}/provision/60-sbom.sh",
    ]
  }
  provisioner "file" {
    direction   = "download"
    source      = "/usr/share/tollgate/image.json"
    destination = "target/image-${var.arch}.json"
  }
  provisioner "shell" {
    execute_command  = "sudo env {{ .Vars }} bash '{{ .Path }}'"
    environment_vars = ["TOLLGATE_VERSION=${var.version}", "TOLLGATE_SBOM=${join(" ", [for path in var.sbom : basename(path)])}"]
    scripts = [
      "${path.root}/provision/90-clean.sh",
      "${path.root}/provision/99-assert.sh",
    ]
  }

  post-processor "manifest" {
    output = "target/image-${var.arch}.manifest.json"
    custom_data = {
      version  = var.version
      revision = var.revision
    }
  }
}
