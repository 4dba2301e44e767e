# A group of mirrors on OpenStack, which Heat makes larger and smaller when an alarm says so.
# docs/scale-out.md tells how to use it.

terraform {
  required_version = ">= 1.5"
  required_providers {
    openstack = {
      source  = "terraform-provider-openstack/openstack"
      version = "~> 3.0"
    }
  }
}

locals {
  is_given = [for value in [var.master, var.secret_file, var.repository, var.repository_key] : value != null]

  # An image of a mirror knows its master. Debian's own is given the same file as a single machine, with
  # what is yours.
  user_data = var.image != null || contains(local.is_given, false) ? "" : replace(
    replace(
      replace(
        replace(
          file("${path.module}/../../cloud-init/mirror.yaml"),
          "https://apt.example.org", var.repository
        ),
        "UkVQT1NJVE9SWS1LRVk=", filebase64(var.repository_key)
      ),
      "rtmp://master.example.org", var.master
    ),
    "U0VDUkVULU9GLVRIRS1NQVNURVI=", base64encode(trimspace(file(var.secret_file)))
  )
}

resource "openstack_networking_secgroup_v2" "mirror" {
  name        = "${var.name}-mirror"
  description = "RTMP and HTTP for viewers"
}

resource "openstack_networking_secgroup_rule_v2" "viewers" {
  for_each = {
    for pair in setproduct(["IPv4", "IPv6"], var.https ? [1935, 8080, 8443] : [1935, 8080]) :
    "${pair[0]}-${pair[1]}" => pair
  }

  security_group_id = openstack_networking_secgroup_v2.mirror.id
  direction         = "ingress"
  ethertype         = each.value[0]
  protocol          = "tcp"
  port_range_min    = each.value[1]
  port_range_max    = each.value[1]
}

resource "openstack_networking_secgroup_rule_v2" "administration" {
  count = var.administration == null ? 0 : 1

  security_group_id = openstack_networking_secgroup_v2.mirror.id
  direction         = "ingress"
  ethertype         = strcontains(var.administration, ":") ? "IPv6" : "IPv4"
  protocol          = "tcp"
  port_range_min    = 22
  port_range_max    = 22
  remote_ip_prefix  = var.administration
}

resource "openstack_orchestration_stack_v1" "mirrors" {
  name = "${var.name}-mirrors"

  template_opts = {
    Bin = file("${path.module}/mirrors.hot.yaml")
  }

  parameters = {
    image          = coalesce(var.image, var.debian)
    flavor         = var.flavor
    network        = var.network
    security_group = openstack_networking_secgroup_v2.mirror.name
    user_data      = local.user_data
    minimum        = var.minimum
    maximum        = var.maximum
  }

  timeout = 30

  lifecycle {
    precondition {
      condition     = var.image != null || !contains(local.is_given, false)
      error_message = "Without an image of a mirror, it takes master, secret_file, repository and repository_key."
    }
  }
}
