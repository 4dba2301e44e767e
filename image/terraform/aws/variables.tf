variable "name" {
  description = "What the names of everything begin with"
  type        = string
  default     = "live"
}

variable "region" {
  description = "Where the mirrors run"
  type        = string
}

variable "vpc" {
  description = "Network of the mirrors"
  type        = string
}

variable "subnets" {
  description = "Public subnets of it"
  type        = list(string)
}

variable "image" {
  description = "Image of a mirror, which knows its master; without one, a mirror is made of Debian's"
  type        = string
  default     = null
}

variable "instance_type" {
  description = "Size of a mirror; its network is what counts"
  type        = string
  default     = "c7i.large"
}

variable "master" {
  description = "Where the mirrors pull from; an image knows it"
  type        = string
  default     = null

  validation {
    condition     = var.master == null || can(regex("^rtmps?://([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\])(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?/?$", var.master))
    error_message = "The master is rtmp://HOST or rtmp://HOST:PORT, or rtmps:// of the same; an IPv6 address is in brackets, and no stream is named."
  }
}

variable "secret_file" {
  description = "File with the secret that the master shares with its mirrors; an image needs none"
  type        = string
  default     = null
}

variable "repository" {
  description = "Address of the apt repository; an image needs none"
  type        = string
  default     = null
}

variable "repository_key" {
  description = "The repository's crtmpserver.gpg; an image needs none"
  type        = string
  default     = null
}

variable "https" {
  description = "Whether the image has a certificate: HTTPS is on port 8443 then"
  type        = bool
  default     = false
}

variable "administration" {
  description = "Network from which ssh is let in, such as 192.0.2.0/24; the image lets in whom it knows"
  type        = string
  default     = null
}

variable "minimum" {
  description = "Mirrors that are always there"
  type        = number
  default     = 2
}

variable "maximum" {
  description = "Mirrors at most: what the event may cost"
  type        = number
  default     = 20
}

variable "mbit_s" {
  description = "What a mirror sends on average before the next one starts: half of what it can"
  type        = number
  default     = 400
}
