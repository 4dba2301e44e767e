# A group of mirrors on AWS, which grows and shrinks with what they send.
# docs/scale-out.md tells how to use it.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }
}

provider "aws" {
  region = var.region
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
  ports = merge({ rtmp = 1935, http = 8080 }, var.https ? { https = 8443 } : {})
}

# Debian's own, when there is no image of a mirror, which starts faster.
data "aws_ami" "debian" {
  most_recent = true
  owners      = ["136693071363"]

  filter {
    name   = "name"
    values = ["debian-12-amd64-*"]
  }
}

resource "aws_security_group" "mirror" {
  name_prefix = "${var.name}-mirror-"
  description = "RTMP and HTTP for viewers"
  vpc_id      = var.vpc
}

resource "aws_vpc_security_group_ingress_rule" "viewers" {
  for_each = local.ports

  security_group_id = aws_security_group.mirror.id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
}

resource "aws_vpc_security_group_ingress_rule" "administration" {
  count = var.administration == null ? 0 : 1

  security_group_id = aws_security_group.mirror.id
  cidr_ipv4         = strcontains(var.administration, ":") ? null : var.administration
  cidr_ipv6         = strcontains(var.administration, ":") ? var.administration : null
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
}

# To the master, and to the repository.
resource "aws_vpc_security_group_egress_rule" "all" {
  security_group_id = aws_security_group.mirror.id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}

resource "aws_launch_template" "mirror" {
  name_prefix   = "${var.name}-mirror-"
  image_id      = coalesce(var.image, data.aws_ami.debian.id)
  instance_type = var.instance_type
  user_data     = base64encode(local.user_data)

  # A figure a minute; without it the group sees one in five minutes.
  monitoring {
    enabled = true
  }

  metadata_options {
    # A mirror asks for its public address here, with a token.
    http_endpoint = "enabled"
    http_tokens   = "required"
  }

  network_interfaces {
    associate_public_ip_address = true
    security_groups             = [aws_security_group.mirror.id]
  }

  tag_specifications {
    resource_type = "instance"
    tags = {
      Name        = "${var.name}-mirror"
      crtmpserver = "mirror"
    }
  }

  lifecycle {
    precondition {
      condition     = var.image != null || !contains(local.is_given, false)
      error_message = "Without an image of a mirror, it takes master, secret_file, repository and repository_key."
    }
  }
}

resource "aws_autoscaling_group" "mirrors" {
  name_prefix         = "${var.name}-mirrors-"
  min_size            = var.minimum
  max_size            = var.maximum
  vpc_zone_identifier = var.subnets
  target_group_arns   = [for group in aws_lb_target_group.entry : group.arn]

  # /healthz is 503 while the master is away: that must not end every mirror at once.
  health_check_type         = "EC2"
  health_check_grace_period = 120
  default_instance_warmup   = 90

  launch_template {
    id      = aws_launch_template.mirror.id
    version = aws_launch_template.mirror.latest_version
  }
}

# Bytes that one mirror sends in a minute, on average: half of what it can, so that there is room while
# the next one starts.
resource "aws_autoscaling_policy" "traffic" {
  name                   = "${var.name}-traffic"
  autoscaling_group_name = aws_autoscaling_group.mirrors.name
  policy_type            = "TargetTrackingScaling"

  target_tracking_configuration {
    predefined_metric_specification {
      predefined_metric_type = "ASGAverageNetworkOut"
    }
    target_value = var.mbit_s * 1000000 / 8 * 60
  }
}

# The way in: who asks here gets any mirror, and from its list all of them.
resource "aws_lb" "entry" {
  name_prefix                      = "live-"
  load_balancer_type               = "network"
  subnets                          = var.subnets
  security_groups                  = [aws_security_group.mirror.id]
  enable_cross_zone_load_balancing = true
}

resource "aws_lb_target_group" "entry" {
  for_each = local.ports

  name_prefix          = "live-"
  vpc_id               = var.vpc
  protocol             = "TCP"
  port                 = each.value
  deregistration_delay = 60

  # No new viewers for a mirror without its master.
  health_check {
    protocol = "HTTP"
    port     = local.ports.http
    path     = "/healthz"
    matcher  = "200"
    interval = 10
  }
}

resource "aws_lb_listener" "entry" {
  for_each = local.ports

  load_balancer_arn = aws_lb.entry.arn
  protocol          = "TCP"
  port              = each.value

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.entry[each.key].arn
  }
}
