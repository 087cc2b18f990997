# packer init ami
# packer build -var arch=arm64 -var version=1.2.0 -var deb=target/debian/tollgate_1.2.0-1_arm64.deb ami
#
# Once for each architecture; everything but these three has a default. A fleet wants
# `agent_debs`, too: without AWS's agents its logs and metrics stay on the machines.

variable "arch" {
  type        = string
  description = "arm64 (Graviton, less money for the same work) or x86_64."
  validation {
    condition     = var.arch == "arm64" || var.arch == "x86_64"
    error_message = "Arch is arm64 or x86_64."
  }
}

variable "deb" {
  type        = string
  description = "The package of that architecture, as `make deb` writes it under target/debian on a machine of that architecture."
}

variable "version" {
  type        = string
  description = "What `tollgate version` says; it goes into the image's name and tags, and the build fails when the package is another."
}

variable "revision" {
  type        = string
  default     = "unknown"
  description = "The commit of the package: `git rev-parse HEAD`."
}

variable "sbom" {
  type        = list(string)
  default     = []
  description = "The package's own bill of materials, `target/sbom/tollgate.cdx.json` of `make sbom`; it is put beside the image's list of packages."
}

variable "region" {
  type    = string
  default = "us-east-1"
}

variable "copy_to_regions" {
  type        = list(string)
  default     = []
  description = "The regions of the failover."
}

variable "share_with_organizations" {
  type        = list(string)
  default     = []
  description = "ARNs of organizations or their units that may start the image. They need the keys, too: kms_key_id, and region_kms_key_ids for copies."
}

variable "kms_key_id" {
  type        = string
  default     = ""
  description = "The key of the image's disk in `region`. Default: the account's own for EBS, with which the image cannot be shared."
}

variable "region_kms_key_ids" {
  type        = map(string)
  default     = {}
  description = "The key of each copy, by its region; with one, all of copy_to_regions have to be here. Default: the account's own for EBS there, with which a copy cannot be shared."
}

variable "subnet_id" {
  type        = string
  default     = ""
  description = "Where the image is built. Default: the default VPC."
}

variable "ssh_interface" {
  type        = string
  default     = ""
  description = "private_ip where the builder reaches the subnet; session_manager with a role in `instance_profile`."
}

variable "instance_profile" {
  type    = string
  default = ""
}

variable "agent_debs" {
  type        = list(string)
  default     = []
  description = "Packages of agents, as amazon-cloudwatch-agent.deb (logs and metrics; without it the image has none) and amazon-ssm-agent.deb (sessions; with it SSH is off)."
}

variable "deprecate_after" {
  type        = string
  default     = "4320h"
  description = "After half a year nobody finds the image any more who does not know its id: its packages are old."
}
